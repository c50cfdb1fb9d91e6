"""What is animated while the page loads ends when it is there."""

from __future__ import annotations

# Gradio takes its loading notice away without ending the clock in it, which then goes on in every frame: on a machine
# without a GPU that costs a seventh of a core for as long as the page is open, and training has to share it. Frames
# that the notice asks for, and those that its frames ask for, are left out once the page's tabs are there.
HEAD = """<script>(() => {
  const next = window.requestAnimationFrame.bind(window);
  const isThere = () => document.getElementById('tabs') !== null;
  let within = false;
  window.requestAnimationFrame = (draw) => {
    if (!within && (isThere() || !new Error().stack.includes('statustracker'))) return next(draw);
    return next((time) => {
      if (isThere()) return;
      within = true;
      try { draw(time); } finally { within = false; }
    });
  };
})();</script>"""
