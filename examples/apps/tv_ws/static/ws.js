// Draws the temperature curve. The page has the URL of the data.
const svg = document.getElementById("curve");
const plot = { left: 48, right: 704, top: 16, bottom: 226 };

function draw(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.textContent = text;
  svg.append(element);
}

const degrees = (value, digits = 1) => `${value.toFixed(digits).replace("-", "−")} °C`;

function show({ hours, celsius }) {
  const low = Math.min(...celsius), high = Math.max(...celsius), last = celsius.length - 1;
  document.getElementById("now").textContent = degrees(celsius[last]);
  document.getElementById("range").textContent = `low ${degrees(low)}, high ${degrees(high)}`;

  const floor = Math.floor(low / 2) * 2, ceiling = Math.ceil(high / 2) * 2;
  const x = (hour) => plot.left + ((plot.right - plot.left) * hour) / last;
  const y = (value) => plot.bottom - ((plot.bottom - plot.top) * (value - floor)) / (ceiling - floor);
  for (let value = floor; value <= ceiling; value += 2) {
    draw("line", { x1: plot.left, x2: plot.right, y1: y(value), y2: y(value) });
    draw("text", { x: plot.left - 10, y: y(value) + 4, "text-anchor": "end" }, degrees(value, 0).slice(0, -3));
  }
  for (let hour = 0; hour <= last; hour += 3)
    draw("text", { x: x(hour), y: plot.bottom + 28, "text-anchor": "middle" }, hours[hour]);

  const points = celsius.map((value, hour) => `${x(hour).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  draw("polygon", { points: `${plot.left},${plot.bottom} ${points} ${plot.right},${plot.bottom}` });
  draw("polyline", { points });
  draw("circle", { cx: x(last), cy: y(celsius[last]), r: 5 });
}

fetch(svg.dataset.readings).then((response) => response.json()).then(show);
