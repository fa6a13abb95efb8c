// The way from a node up to the root of its trust: within a lane by who signed or holds whom,
// across the lanes by what it was uploaded from or assigned by.

const ACROSS = ["uploaded", "assigns"];

// The elements on the way up from `node`: nodes, and the links and folds between them.
export function wayUp(nodes, links, node) {
  const found = new Set([node]);
  let current = node;
  for (;;) {
    const next = above(nodes, links, current);
    if (!next || found.has(next.node)) return found;
    next.links.forEach((link) => found.add(link));
    found.add(next.node);
    current = next.node;
  }
}

function above(nodes, links, current) {
  const { id, parent } = current.dataset;
  if (parent && nodes.has(parent)) {
    return { node: nodes.get(parent), links: between(links, unitsOf(current), [parent]) };
  }
  const link = links.find(({ dataset }) => dataset.to === id && ACROSS.includes(dataset.kind));
  const node = link && nodes.get(link.dataset.from);
  return node ? { node, links: [link] } : null;
}

function between(links, some, others) {
  return links.filter(({ dataset: { from, to } }) =>
    (some.includes(from) && others.includes(to)) || (some.includes(to) && others.includes(from)));
}

// A node in a fold hangs on the fold's link.
export function unitsOf(node) {
  const { id, kind, parent } = node.dataset;
  return [id, `${kind}s below ${parent}`];
}
