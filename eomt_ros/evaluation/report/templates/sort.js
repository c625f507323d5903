// A click on the head of a column sorts the rows below, a second click the other way round; rows without a value stay
// at the end, and those of other bodies (failed recordings, all together) where they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[table.tBodies.length - 1];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === head.dataset.first ? -1 : 1;
      const order = head.dataset.first === "descending" ? -sign : sign;
      const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const difference = "value" in one.cells[column].dataset ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return order * difference;
      };
      body.append(...[...body.rows].sort(compare));
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
    });
  });
}
