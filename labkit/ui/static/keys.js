// Where an arrow key leads from a node: up and down along the chain, sideways to the neighbour.

// The element to go to, or undefined. `nodes` maps IDs to elements, `boxOf` gives {x, y, w, h}.
export function neighbour(key, nodes, current, boxOf) {
  const all = [...nodes.values()].filter((node) => node !== current);
  const from = boxOf(current);
  const toward = (node) => distance(key, from, boxOf(node));
  const inFold = !current.classList.contains("card");
  switch (key) {
    case "ArrowUp":
      return (inFold && nearest(siblings(all, current), toward))
        || nodes.get(current.dataset.parent) || nearest(all, toward);
    case "ArrowDown":
      return (inFold ? nearest(siblings(all, current), toward) : firstBelow(all, current))
        || nearest(all, toward);
    case "ArrowLeft":
    case "ArrowRight":
      return nearest(all, toward);
    case "Home":
      return [...nodes.values()][0];
    case "End":
      return [...nodes.values()].at(-1);
  }
}

function siblings(all, current) {
  return all.filter((node) => node.dataset.parent === current.dataset.parent
    && node.dataset.kind === current.dataset.kind);
}

function firstBelow(all, current) {
  const id = current.dataset.id;
  return all.find((node) => node.dataset.parent === id)
    ?? all.find((node) => node.classList.contains("stack") && node.dataset.id.endsWith(` below ${id}`));
}

function nearest(nodes, toward) {
  let best;
  let least = Infinity;
  for (const node of nodes) {
    const far = toward(node);
    if (far < least) [best, least] = [node, far];
  }
  return best;
}

// How far `to` is in the key's direction; infinite where it lies elsewhere. Straight ahead is
// nearer than aside.
function distance(key, from, to) {
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  const forward = key === "ArrowRight" || key === "ArrowDown";
  const [ahead, span] = sideways ? ["x", "w"] : ["y", "h"];
  const [aside, breadth] = sideways ? ["y", "h"] : ["x", "w"];
  const gap = forward
    ? to[ahead] - (from[ahead] + from[span]) : from[ahead] - (to[ahead] + to[span]);
  if (gap < -2) return Infinity;
  const off = Math.abs(to[aside] + to[breadth] / 2 - from[aside] - from[breadth] / 2);
  const beside = to[aside] < from[aside] + from[breadth] && from[aside] < to[aside] + to[breadth];
  if (!sideways && !beside) return Infinity;
  return Math.max(0, gap) + (beside ? off / 8 : 2 * off);
}
