// A heat map over a picture, in the colours of the alerts' pictures: clear, yellow, red.

function bytesOf(text) {
  const binary = atob(text);
  return Uint8Array.from(binary, (one) => one.charCodeAt(0));
}

/** Draw a grid of the API (or null) on a canvas that covers the picture. */
export function drawHeat(canvas, heat) {
  const context = canvas.getContext("2d");
  canvas.width = 480;
  canvas.height = 270;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!heat) return;
  const values = bytesOf(heat.values);
  const grid = document.createElement("canvas");
  grid.width = heat.columns;
  grid.height = heat.rows;
  const pixels = new ImageData(heat.columns, heat.rows);
  values.forEach((value, place) => {
    const share = value / 255;
    pixels.data.set([255, 220 * (1 - share), 0, 150 * share], place * 4);
  });
  grid.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  const [x, y] = [heat.left * canvas.width, heat.top * canvas.height];
  context.drawImage(grid, x, y, (heat.right - heat.left) * canvas.width, (heat.bottom - heat.top) * canvas.height);
}
