
// Optional: sorts and filters tables, and shows values of charts. The page is complete without it.
'use strict';
(() => {
  const factors = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50, EiB: 2 ** 60, s: 1000 };
  const form = /^[<>] ?|,/g;

  // Sort key of a cell: its number if it has one, else its text.
  const key = (cell, byChange) => {
    if (byChange && cell.tagName === 'TD') {
      return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    }
    const text = cell.textContent.trim();
    if (cell.tagName === 'TH') return text;
    const parts = /^(−?)([\d.]+)\s*(\S*)/.exec(text.replace(form, ''));
    if (!parts) return text === '–' ? null : text;
    return (parts[1] ? -1 : 1) * Number(parts[2]) * (factors[parts[3]] || 1);
  };

  // Cells without a value are always last.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === 'number' && typeof b === 'number') return sign * (a - b);
    return sign * String(a).localeCompare(String(b), 'en', { numeric: true });
  };

  const sort = (table, column, heading) => {
    const text = column === 0 || !heading.classList.contains('n');
    const first = text ? 'ascending' : 'descending';
    const other = text ? 'descending' : 'ascending';
    const order = heading.getAttribute('aria-sort') === first ? other : first;
    for (const th of table.tHead.rows[0].cells) th.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', order);
    const sign = order === 'ascending' ? 1 : -1;
    const body = table.querySelector('tbody.rows');
    const keyed = [...body.rows].map((row) => {
      const cell = row.cells[column];
      return [cell ? key(cell, table.dataset.sort === 'change') : null, row];
    });
    keyed.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...keyed.map(([, row]) => row));
  };

  for (const body of document.querySelectorAll('tbody.rows')) {
    if (body.rows.length < 2) continue;
    const table = body.parentElement;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...heading.childNodes);
      button.addEventListener('click', () => sort(table, column, heading));
      heading.append(button);
    });
  }

  for (const table of document.querySelectorAll('table[data-filter]')) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    input.type = 'search';
    label.className = 'filter';
    label.append('Show ' + table.dataset.filter + ' that contain ', input);
    input.addEventListener('input', () => {
      const wanted = input.value.toLowerCase();
      for (const row of table.querySelector('tbody.rows').rows) {
        row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      }
    });
    const box = table.parentElement;
    const line = document.createElement('p');
    line.className = 'filter';
    line.append(label);
    box.before(line);
  }

  // The row of a chart's table that is nearest to the pointer.
  const nearest = (rows, x) => {
    let low = 0;
    let high = rows.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].x < x) low = middle + 1;
      else high = middle;
    }
    return low > 0 && x - rows[low - 1].x < rows[low].x - x ? low - 1 : low;
  };

  for (const chart of document.querySelectorAll('.chart')) {
    const table = document.getElementById(chart.dataset.table);
    const plot = chart.querySelector('.plot');
    if (!table) continue;
    // Read once: sorting the table changes the order of its rows, but not their content.
    const rows = [...table.querySelectorAll('tr[data-x]')].map((row) => ({ x: Number(row.dataset.x), cells: row.cells }));
    if (rows.length === 0) continue;
    const items = [...chart.querySelectorAll('.legend [data-column]')];
    const when = chart.querySelector('.when');
    const cover = document.createElement('div');
    const cursor = document.createElement('i');
    cover.className = 'pointer';
    cover.append(cursor);
    plot.append(cover);
    const show = (event) => {
      const box = cover.getBoundingClientRect();
      const row = rows[nearest(rows, (event.clientX - box.left) / box.width)];
      cursor.style.display = 'block';
      cursor.style.left = row.x * 100 + '%';
      when.textContent = row.cells[0].textContent;
      for (const item of items) {
        const text = row.cells[item.dataset.column].textContent;
        item.querySelector('b').textContent = text === '–' ? text : text + item.dataset.unit;
      }
    };
    const hide = () => {
      cursor.style.display = 'none';
      when.textContent = '';
      for (const item of items) item.querySelector('b').textContent = '';
    };
    cover.addEventListener('pointermove', show);
    cover.addEventListener('pointerdown', show);
    cover.addEventListener('pointerleave', hide);
  }
})();
