// What is wrong with a page that is to be read: evaluated in the browser by the tests.
// (textContrast, shapeContrast) => {seen, faint, wide, smallest}
(textContrast, shapeContrast) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  // WCAG 2.2: relative luminance and contrast ratio.
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };

  const faint = [];
  let seen = 0;
  let smallest = Infinity; // CSS pixels, as shown: a drawing may be scaled
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.getClientRects().length || ["title", "style", "script"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const drawing = element.closest("svg");
    const ground = behind(element);
    const contrast = ratio(over(rgba(drawing ? style.fill : style.color), ground), ground);
    const scale = drawing ? drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width : 1;
    smallest = Math.min(smallest, parseFloat(style.fontSize) * scale);
    seen += 1;
    if (contrast < textContrast) faint.push([text, contrast]);
  }
  const meaningful = ".curve, .score, .smoothed, .threshold, .mark, [class^=bar-]";
  for (const shape of document.querySelectorAll(`svg :is(${meaningful})`)) {
    const style = getComputedStyle(shape);
    const ground = behind(shape);
    const colour = style.fill === "none" || shape.tagName === "line" ? style.stroke : style.fill;
    const contrast = ratio(over(rgba(colour), ground), ground);
    seen += 1;
    if (contrast < shapeContrast) faint.push([shape.getAttribute("class"), contrast]);
  }

  // What reaches beyond the window without a box around it that scrolls or clips.
  const wide = [...document.querySelectorAll("body *")].filter((one) => {
    if (one.closest("svg") && one.tagName !== "svg") return false;
    for (let box = one.parentElement; box !== document.documentElement; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== "visible") return false;
    return one.getBoundingClientRect().right > innerWidth + 0.5;
  });
  return { seen, faint, wide: wide.map((one) => one.outerHTML.slice(0, 120)), smallest };
}
