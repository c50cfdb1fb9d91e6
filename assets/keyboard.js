// Gradio 6.31 looks at a key in a list a moment late: Tab has left it by then, and its list comes up again to stay open
// over the page. These keys choose nothing in a list, so they do not get there.
document.addEventListener('keydown', (event) => {
  const passes = ['Tab', 'Shift', 'Control', 'Alt', 'Meta'].includes(event.key);
  if (passes && event.target.matches('input[role=combobox]')) event.stopPropagation();
}, true);
