"""The script that lets a reader turn a structure. Without it the picture is the first view; nothing is fetched."""

SCRIPT = """
for (const svg of document.querySelectorAll("svg[data-scene]")) {
  const scene = JSON.parse(svg.dataset.scene), group = svg.querySelector(".scene");
  let [tip, turn] = scene.view, held = null;

  function seen([x, y, z]) {
    const a = tip * Math.PI / 180, b = turn * Math.PI / 180;
    const u = x * Math.cos(b) - y * Math.sin(b), v = x * Math.sin(b) + y * Math.cos(b);
    return [u, -(v * Math.cos(a) - z * Math.sin(a)), v * Math.sin(a) + z * Math.cos(a)];
  }

  function shape(name, attributes) {
    const element = document.createElementNS(svg.namespaceURI, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    return element;
  }

  function line(kind, [x1, y1], [x2, y2], width) {
    return shape("line", {class: kind, x1, y1, x2, y2, "stroke-width": width});
  }

  function draw() {
    const at = scene.at.map(seen), corners = scene.corners.map(seen), shapes = [];
    for (const [i, j] of scene.edges) {
      const middle = corners[i].map((x, k) => (x + corners[j][k]) / 2);
      for (const corner of [corners[i], corners[j]])
        shapes.push([(corner[2] + middle[2]) / 2 - 0.2, line("cell", corner, middle, 0.05)]);
    }
    for (const [i, j] of scene.bonds) {
      const apart = at[j].map((x, k) => x - at[i][k]), length = Math.hypot(...apart);
      const start = at[i].map((x, k) => x + apart[k] * scene.radii[scene.kind[i]] / length);
      const end = at[j].map((x, k) => x - apart[k] * scene.radii[scene.kind[j]] / length);
      shapes.push([(start[2] + end[2]) / 2, line("bond", start, end, 0.14)]);
    }
    at.forEach(([cx, cy, depth], i) => {
      const kind = scene.kind[i];
      const fill = `url(#${scene.id}-${kind})`;
      const atom = shape("circle", {cx, cy, r: scene.radii[kind], fill, "stroke-width": 0.04});
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = scene.elements[kind];
      atom.append(title);
      shapes.push([depth, atom]);
    });
    shapes.sort((one, other) => one[0] - other[0]);
    group.replaceChildren(...shapes.map(([, element]) => element));
  }

  svg.addEventListener("pointerdown", event => {
    held = [event.clientX, event.clientY, tip, turn];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    if (held === null) return;
    turn = held[3] + 0.5 * (event.clientX - held[0]);
    tip = held[2] + 0.5 * (event.clientY - held[1]);
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });
  svg.addEventListener("dblclick", () => { [tip, turn] = scene.view; draw(); });
  svg.addEventListener("keydown", event => {
    const step = {ArrowLeft: [0, -10], ArrowRight: [0, 10], ArrowUp: [-10, 0], ArrowDown: [10, 0]}[event.key];
    if (!step) return;
    event.preventDefault();
    tip += step[0];
    turn += step[1];
    draw();
  });
  draw();
  svg.parentElement.classList.add("turns");
}
"""
