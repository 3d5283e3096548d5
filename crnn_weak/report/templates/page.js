for (const clip of document.querySelectorAll(".clip")) {
  const audio = clip.querySelector("audio"), picture = clip.querySelector(".picture");
  if (!audio || !picture) continue;
  const cursor = picture.querySelector(".cursor"), seconds = Number(picture.dataset.seconds);
  const show = () => {
    cursor.hidden = false;
    cursor.style.setProperty("--place", audio.currentTime / seconds);
    if (!audio.paused) requestAnimationFrame(show);
  };
  for (const event of ["play", "pause", "seeked"]) audio.addEventListener(event, show);
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
  });
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect(), look = getComputedStyle(picture);
    const x = (event.clientX - box.left) / box.width - Number(look.getPropertyValue("--left"));
    audio.currentTime = seconds * Math.min(Math.max(x / Number(look.getPropertyValue("--width")), 0), 1);
    show();
    audio.play().catch(() => {});
  });
}
