// The microphone's samples, on the audio thread: posts about 20 ms at a time to the page.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunk = new Float32Array(1024);
    this.length = 0;
  }

  process([channels]) {
    if (channels.length > 0) {
      const samples = channels[0];
      this.chunk.set(samples, this.length);
      this.length += samples.length;
      if (this.length + samples.length > this.chunk.length) {
        this.port.postMessage(this.chunk.slice(0, this.length));
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
