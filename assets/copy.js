// A button that copies the text in the <pre> beside it, and says so. Stands before other scripts of the page.

const copy = async (button, copied, marked) => {
  const held = button.parentElement.querySelector('pre');
  let done = true;
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(held.textContent);
  } else {  // a page over plain http that is not this machine's own
    getSelection().selectAllChildren(held);
    done = document.execCommand('copy');
  }
  const before = button.dataset.before ??= button.textContent;
  button.textContent = done ? copied : marked;
  setTimeout(() => { button.textContent = before; }, done ? 1500 : 5000);
};
