// Measures the pages in the frames of this document and writes the result into the document.
'use strict';

// Relative luminance and contrast as the guidelines for accessible content define them.
const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
const luminance = ([r, g, b]) =>
  [r, g, b]
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const background = (view, element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(view.getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const isSeen = (element) => element.getClientRects().length > 0;

const worstContrast = (view, page) => {
  let worst = { ratio: 21, text: '' };
  for (const element of page.querySelectorAll('body *')) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
    if (own === '' || !isSeen(element) || ['SCRIPT', 'title', 'desc'].includes(element.tagName)) continue;
    const style = view.getComputedStyle(element);
    const colour = parse(element.ownerSVGElement ? style.fill : style.color);
    const ratio = contrast(colour, background(view, element));
    if (ratio < worst.ratio) worst = { ratio, text: own.slice(0, 40) };
  }
  return worst;
};

// Labels of an axis that overlap or are outside of the page.
const badLabels = (view, page) => {
  const bad = [];
  for (const chart of page.querySelectorAll('.chart')) {
    for (const axis of ['text.x', 'text.y']) {
      const labels = [...chart.querySelectorAll(axis)].filter(isSeen);
      const boxes = labels.map((label) => label.getBoundingClientRect());
      boxes.forEach((box, n) => {
        const next = boxes[n + 1];
        const over = next && box.left < next.right && next.left < box.right && box.top < next.bottom && next.top < box.bottom;
        if (over || box.left < 0 || box.right > view.innerWidth) bad.push(chart.id + ': ' + labels[n].textContent);
      });
    }
  }
  return bad;
};

const firstCells = (table) => [...table.querySelectorAll('tbody.rows tr')].map((row) => row.cells[0].textContent);

const sorted = (page) => {
  const table = page.querySelector('#labels table');
  const buttons = table ? table.querySelectorAll('thead th button') : [];
  if (buttons.length < 2) return null;
  const before = firstCells(table);
  buttons[1].click();
  const most = firstCells(table);
  const aria = buttons[1].parentElement.getAttribute('aria-sort');
  buttons[1].click();
  const least = firstCells(table);
  buttons[0].click();
  return { before, most, aria, least, name: firstCells(table) };
};

const pointedAt = (view, page) => {
  const cover = page.querySelector('#times-chart .pointer');
  if (!cover) return null;
  const box = cover.getBoundingClientRect();
  cover.dispatchEvent(new view.PointerEvent('pointermove', { clientX: box.left + box.width * (10.5 / 300), clientY: box.top + 5 }));
  return [...page.querySelectorAll('#times-chart .legend li')].map((item) => item.textContent.trim());
};

const filtered = (page) => {
  const input = page.querySelector('.filter input');
  if (!input) return null;
  input.value = 'PRODUCT-00042?';
  input.dispatchEvent(new Event('input'));
  return [...page.querySelectorAll('#labels tbody.rows tr')].filter(isSeen).length;
};

const drawn = (page) =>
  [...page.querySelectorAll('.plane')].map((plane) => {
    const boxes = [...plane.querySelectorAll('path')].map((path) => path.getBoundingClientRect());
    return { id: plane.closest('.chart').id, width: Math.max(...boxes.map((box) => box.width)) / plane.getBoundingClientRect().width };
  });

addEventListener('load', () => {
  const found = [...document.querySelectorAll('iframe')].map((frame) => {
    const [view, page] = [frame.contentWindow, frame.contentDocument];
    return {
      width: view.innerWidth,
      needed: page.documentElement.scrollWidth,
      title: page.title,
      scripts: page.scripts.length,
      images: page.querySelectorAll('img, image, iframe, object, embed, link').length,
      contrast: worstContrast(view, page),
      labels: badLabels(view, page),
      drawn: drawn(page),
      sorted: sorted(page),
      pointed: pointedAt(view, page),
      filtered: filtered(page),
    };
  });
  const result = document.createElement('pre');
  result.id = 'result';
  // Encoded, so that HTML serialisation does not change it.
  result.textContent = encodeURIComponent(JSON.stringify(found));
  document.body.append(result);
});
