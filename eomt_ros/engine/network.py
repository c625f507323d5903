"""VidEoMT, one frame at a time: an image and the last frame's queries go in, logits and the next queries come out.

The network is a plain ViT. Its first layers see the image alone; before the last `num_blocks` layers the queries are
prepended to the image's tokens, and they leave as masks and classes (EoMT, Kerssies et al., CVPR 2025). For video, the
queries that leave one frame enter the next one through a linear layer (VidEoMT), so that a query stays with its object:
they are the whole memory, of a size that does not grow.

Parameters are named as in Hugging Face's `VideomtForUniversalSegmentation`, so that its checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRAINING_ONLY = frozenset({"embeddings.mask_token", "attn_mask_probs", "criterion.empty_weight"})
"""Tensors of a published checkpoint that only its training needs."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


@dataclass(frozen=True)
class VideomtSettings:
    """The shape of one network, in the words of Hugging Face's `VideomtConfig` (the defaults are its own)."""

    num_labels: int
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    image_size: int = 640
    patch_size: int = 16
    num_channels: int = 3
    mlp_ratio: int = 4
    num_upscale_blocks: int = 2
    use_swiglu_ffn: bool = False
    num_blocks: int = 4
    num_queries: int = 200
    num_register_tokens: int = 4

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> VideomtSettings:
        """Reads a `config.json`.

        Raises `ValueError` that names the entry where the network could not be built from it.
        """
        known = {name: config[name] for name in cls.__dataclass_fields__ if name in config}
        settings = cls(**{**known, "num_labels": num_labels_of(config)})
        for name, value in vars(settings).items():
            if name in ("hidden_act", "use_swiglu_ffn", "layer_norm_eps"):
                continue
            least = 0 if name in ("num_register_tokens", "num_upscale_blocks") else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of at least {least}")
        if settings.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {settings.hidden_act!r}, expected one of {', '.join(ACTIVATIONS)}")
        if settings.hidden_size % settings.num_attention_heads:
            raise ValueError(
                f"hidden_size is {settings.hidden_size}, expected a multiple of num_attention_heads "
                f"({settings.num_attention_heads})"
            )
        if settings.image_size % settings.patch_size:
            raise ValueError(
                f"image_size is {settings.image_size}, expected a multiple of patch_size ({settings.patch_size})"
            )
        if settings.num_blocks > settings.num_hidden_layers:
            raise ValueError(
                f"num_blocks is {settings.num_blocks}, expected at most num_hidden_layers "
                f"({settings.num_hidden_layers})"
            )
        return settings

    @property
    def grid(self) -> int:
        """Patches along one side of the (square) image."""
        return self.image_size // self.patch_size


def num_labels_of(config: Mapping[str, Any]) -> int:
    """The number of classes a `config.json` declares: the length of `id2label`, and without it Hugging Face's 2."""
    if "id2label" in config:
        return len(config["id2label"])
    return int(config.get("num_labels", 2))


class StepOutput(NamedTuple):
    """What one frame gives."""

    mask_logits: Tensor
    """(batch, queries, h, w), at a quarter of the network's image size where `patch_size` is 16 and
    `num_upscale_blocks` 2."""
    class_logits: Tensor
    """(batch, queries, classes + 1), the last one for "no object"."""
    queries: Tensor
    """(batch, queries, hidden), as the last layer leaves them: what the next frame's queries are made from."""


class Videomt(nn.Module):
    """One frame step of VidEoMT (reference: `VideomtForUniversalSegmentation.forward` in Hugging Face transformers)."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        self.settings = settings
        hidden = settings.hidden_size
        self.embeddings = Embeddings(settings)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.num_hidden_layers))
        self.layernorm = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.query = embedding(settings.num_queries, hidden)
        self.query_updater = nn.Linear(hidden, hidden)
        self.class_predictor = nn.Linear(hidden, settings.num_labels + 1)
        self.mask_head = MaskHead(settings)
        self.upscale_block = ScaleBlock(settings)

    def forward(self, pixels: Tensor, queries: Tensor) -> StepOutput:
        """Runs one frame of each stream in the batch.

        pixels: (batch, 3, image_size, image_size), normalised. queries: (batch, queries, hidden) from `first_queries`
        or `next_queries`.
        """
        return self.decode(self.encode(pixels), queries)

    def first_queries(self, batch: int = 1) -> Tensor:
        """The queries of a stream's first frame, (batch, queries, hidden)."""
        return self.query.weight.expand(batch, -1, -1)

    def next_queries(self, previous: Tensor) -> Tensor:
        """The queries of a frame from those that left the frame before, (batch, queries, hidden)."""
        return self.query_updater(previous) + self.query.weight

    def encode(self, pixels: Tensor) -> Tensor:
        """The image's tokens before the queries join them, (batch, tokens, hidden): no memory of earlier frames."""
        tokens = self.embeddings(pixels)
        for layer in self.layers[: -self.settings.num_blocks]:
            tokens = layer(tokens)
        return tokens

    def decode(self, tokens: Tensor, queries: Tensor) -> StepOutput:
        """The joint layers and the heads: tokens from `encode` and the frame's queries to what the frame gives."""
        tokens = torch.cat((queries, tokens), dim=1)
        for layer in self.layers[-self.settings.num_blocks :]:
            tokens = layer(tokens)
        mask_logits, class_logits = self.predict(self.layernorm(tokens))
        return StepOutput(mask_logits, class_logits, tokens[:, : self.settings.num_queries])

    def predict(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (batch, queries, h, w) and class logits (batch, queries, classes + 1) of normalised tokens."""
        queries = tokens[:, : self.settings.num_queries]
        patches = tokens[:, self.settings.num_queries + 1 + self.settings.num_register_tokens :]
        grid = self.settings.grid
        features = self.upscale_block(patches.transpose(1, 2).reshape(patches.shape[0], -1, grid, grid))
        mask_logits = torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), features)
        return mask_logits, self.class_predictor(queries)


def embedding(count: int, hidden: int) -> nn.Embedding:
    """Random vectors, as `nn.Embedding` draws them.

    On the meta device none are drawn, since nothing is there to hold them: torch would load its compiler for it, which
    is a second or more of every start.
    """
    vectors = torch.empty(count, hidden)
    if not vectors.is_meta:
        nn.init.normal_(vectors)
    whole: nn.Embedding = nn.Embedding.from_pretrained(vectors, freeze=False)  # type: ignore[no-untyped-call]
    return whole


class Embeddings(nn.Module):
    """Pixels to tokens: one class token, the register tokens, then a token per patch with its position added."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.register_tokens = nn.Parameter(torch.zeros(1, settings.num_register_tokens, hidden))
        self.patch_embeddings = PatchEmbeddings(settings)
        self.position_embeddings = embedding(settings.grid**2, hidden)

    def forward(self, pixels: Tensor) -> Tensor:
        batch = pixels.shape[0]
        patches = self.patch_embeddings(pixels) + self.position_embeddings.weight
        prefix = torch.cat((self.cls_token, self.register_tokens), dim=1)
        return torch.cat((prefix.expand(batch, -1, -1), patches), dim=1)


class PatchEmbeddings(nn.Module):
    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        patch = settings.patch_size
        self.projection = nn.Conv2d(settings.num_channels, settings.hidden_size, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(pixels).flatten(2).transpose(1, 2)


class Layer(nn.Module):
    """A pre-norm transformer layer with learned residual scales (DINOv2)."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.norm1 = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.attention = Attention(settings)
        self.layer_scale1 = LayerScale(hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.mlp = GatedMlp(settings) if settings.use_swiglu_ffn else Mlp(settings)
        self.layer_scale2 = LayerScale(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.layer_scale1(self.attention(self.norm1(tokens)))
        return tokens + self.layer_scale2(self.mlp(self.norm2(tokens)))


class Attention(nn.Module):
    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.num_heads = settings.num_attention_heads
        self.q_proj = nn.Linear(hidden, hidden)
        self.k_proj = nn.Linear(hidden, hidden)
        self.v_proj = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, hidden)
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = F.scaled_dot_product_attention

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            project(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = self.attend(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(hidden))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.lambda1


class Mlp(nn.Module):
    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        wide = settings.hidden_size * settings.mlp_ratio
        self.fc1 = nn.Linear(settings.hidden_size, wide)
        self.fc2 = nn.Linear(wide, settings.hidden_size)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(tokens)))


class GatedMlp(nn.Module):
    """SwiGLU, as the giant DINOv2 has it: two thirds of the usual width, rounded up to a multiple of 8."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        wide = (settings.hidden_size * settings.mlp_ratio * 2 // 3 + 7) // 8 * 8
        self.gate_proj = nn.Linear(settings.hidden_size, wide)
        self.up_proj = nn.Linear(settings.hidden_size, wide)
        self.down_proj = nn.Linear(wide, settings.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(tokens)) * self.up_proj(tokens))


class MaskHead(nn.Module):
    """A query to the vector whose product with the image's features is its mask."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.fc1 = nn.Linear(hidden, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, queries: Tensor) -> Tensor:
        return self.fc3(self.activation(self.fc2(self.activation(self.fc1(queries)))))


class ScaleBlock(nn.Module):
    """Patch tokens to finer features: each block doubles height and width."""

    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        self.block = nn.ModuleList(ScaleLayer(settings) for _ in range(settings.num_upscale_blocks))

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.block:
            features = layer(features)
        return features


class ScaleLayer(nn.Module):
    def __init__(self, settings: VideomtSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.conv1 = nn.ConvTranspose2d(hidden, hidden, kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden, bias=False)
        # The reference fixes this epsilon, whatever layer_norm_eps says.
        self.layernorm2d = nn.LayerNorm(hidden, eps=1e-6)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv2(self.activation(self.conv1(features)))
        return self.layernorm2d(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
