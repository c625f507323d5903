"""YAML by hand: what can unfold is refused before it does."""

import pytest
import yaml

from eomt_ros.plain_yaml import load_plain_yaml


def test_what_people_write_is_read_as_the_library_reads_it():
    text = "name: yard  # comment\nclasses:\n  - {name: gravel, thing: false, color: [1, 2, 3]}\n  - name: 'on'\n"
    assert load_plain_yaml(text) == yaml.safe_load(text)


def test_anchors_that_are_merged_over_and_over_are_refused_at_the_first_one():
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 6)]
    with pytest.raises(yaml.YAMLError, match=r"line 2 has an alias \(\*\), which is not read"):
        load_plain_yaml("\n".join(lines))


@pytest.mark.parametrize(
    "value", ["x" * 1001, f"0x{'f' * 1000}", f"1{':1' * 500}"], ids=["text", "hexadecimal", "base 60"]
)
def test_a_value_of_unusual_length_is_refused(value):
    with pytest.raises(yaml.YAMLError, match=r"line 2 has a value of \d+ characters, at most 1000"):
        load_plain_yaml(f"a: 1\nb: {value}")


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, "- " * 100_000 + "a", "? " * 100_000])
def test_what_is_deeper_than_people_write_is_refused(text):
    with pytest.raises(yaml.YAMLError, match=r"line 1 is within 101 lists and mappings, at most 100"):
        load_plain_yaml(text)


def test_what_is_as_deep_as_it_may_be_is_read_as_the_library_reads_it():
    text = "[" * 100 + "]" * 100
    assert load_plain_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "a: !!python/name:os.system"])
def test_nothing_is_run(text):
    with pytest.raises(yaml.YAMLError):
        load_plain_yaml(text)
