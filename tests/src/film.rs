//! A small video, recorded by the browser under test.

/// Records a canvas on which a red square gives way to a blue one, as the browser's own recorder does: a file that does
/// not say how long it is.
pub const RECORD: &str = "(async () => {
    const canvas = document.createElement('canvas');
    canvas.width = 320; canvas.height = 240;
    const context = canvas.getContext('2d');
    const begin = performance.now();
    const paint = () => {
        context.fillStyle = performance.now() - begin < 600 ? 'red' : 'blue';
        context.fillRect(0, 0, 320, 240);
    };
    const timer = setInterval(paint, 20);
    paint();
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm' });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, 2900));
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    recorder.stop();
    await stopped;
    clearInterval(timer);
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
})()";
