//! The harness itself, on small pages of its own: a test of the page is worth what its camera, microphone and
//! console are worth.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use image::{Rgb, RgbImage};
use msao_tests::{
    camera::{self, Shot},
    chromium::Visitor,
    microphone, scenario,
    site::Site,
    tab::{by_id, shows_something},
};

const SLOW: Duration = Duration::from_secs(30);

/// A folder for the files of one test.
fn folder(test: &str) -> Result<PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[test]
fn the_camera_shows_the_cards_colours() -> Result<()> {
    const PAGE: &str = "<title>camera</title><video autoplay muted playsinline></video><script type=module>
        const video = document.querySelector('video');
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
        const canvas = new OffscreenCanvas(640, 480);
        const context = canvas.getContext('2d', { willReadFrequently: true });
        const mean = (x, y) => {
            const data = context.getImageData(x - 20, y - 20, 40, 40).data, sum = [0, 0, 0];
            data.forEach((level, index) => { if (index % 4 < 3) sum[index % 4] += level / 1600; });
            return sum;
        };
        // The first frames can be black while the browser's video path warms up.
        do {
            await new Promise(done => video.requestVideoFrameCallback(done));
            context.drawImage(video, 0, 0);
        } while (mean(320, 240)[0] < 1);
        window.seen = { size: [video.videoWidth, video.videoHeight], left: mean(190, 240), right: mean(450, 240) };
    </script>";
    let folder = folder("camera")?;
    let (card, film) = (folder.join("card.png"), folder.join("card.y4m"));
    let (red, blue) = (Rgb([210, 40, 40]), Rgb([40, 70, 200]));
    RgbImage::from_fn(64, 64, |x, _| if x < 32 { red } else { blue }).save(&card)?;
    camera::film(&card, &Shot { light: (1.0, 1.0), ..Shot::default() }, &film)?;

    let visitor = Visitor { camera: Some(film), ..Visitor::default() };
    let site = Site::serve(&[("/", PAGE)])?;
    scenario::run("harness-camera", &visitor, |tab| {
        tab.go_to(&site.url("/"))?;
        let seen = tab.wait_until("window.seen", SLOW)?;
        ensure!(seen["size"] == serde_json::json!([640, 480]), "the film has another size: {seen}");
        for (side, Rgb(color)) in [("left", red), ("right", blue)] {
            for (channel, level) in color.into_iter().enumerate() {
                let got = seen[side][channel].as_f64().context("no colour came back")?;
                ensure!(
                    (got - f64::from(level)).abs() < 6.0,
                    "{side} is {} instead of {color:?}",
                    seen[side]
                );
            }
        }
        ensure!(shows_something(&tab.screenshot("harness-camera")?)?, "the screenshot is empty");
        Ok(())
    })
}

#[test]
fn the_microphone_hears_the_recording_after_the_lead() -> Result<()> {
    const PAGE: &str =
        "<title>microphone</title><button data-testid=start>listen</button><script type=module>
        document.querySelector('button').onclick = async () => {
            const exact = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
            const stream = await navigator.mediaDevices.getUserMedia({ audio: exact });
            const context = new AudioContext(), analyser = context.createAnalyser();
            context.createMediaStreamSource(stream).connect(analyser);
            const samples = new Float32Array(analyser.fftSize);
            let loudest = 0, quietest = 1;
            setInterval(() => {
                analyser.getFloatTimeDomainData(samples);
                const peak = Math.max(...samples.map(Math.abs));
                loudest = Math.max(loudest, peak);
                quietest = Math.min(quietest, peak);
                window.levels = { loudest, quietest };
            }, 20);
        };
    </script>";
    let folder = folder("microphone")?;
    let (recording, file) = (folder.join("tone.wav"), folder.join("microphone.wav"));
    microphone::tone(16_000, 1.0, 440.0, &recording)?;
    let end_s = microphone::with_lead(&recording, &file)?;
    ensure!((end_s - 2.0).abs() < 0.01, "the recording should end after 2 s, not {end_s}");

    let visitor = Visitor { microphone: Some(file), ..Visitor::default() };
    let site = Site::serve(&[("/", PAGE)])?;
    scenario::run("harness-microphone", &visitor, |tab| {
        tab.go_to(&site.url("/"))?;
        tab.click(&by_id("start"))?;
        let levels = tab.wait_until("window.levels?.loudest > 0.4 && window.levels", SLOW)?;
        ensure!(levels["loudest"].as_f64() < Some(0.6), "the tone is at half of full scale, heard: {levels}");
        ensure!(levels["quietest"].as_f64() < Some(0.01), "the lead should be silent, heard: {levels}");
        Ok(())
    })
}

#[test]
fn a_refused_camera_throws_and_webgpu_is_there_only_when_asked() -> Result<()> {
    let site = Site::serve(&[("/", "<title>refusal</title>")])?;
    let adapter = "navigator.gpu?.requestAdapter().then(adapter => !!adapter)";
    let refusing = Visitor { refuses_devices: true, ..Visitor::default() };
    scenario::run("harness-refusal", &refusing, |tab| {
        tab.go_to(&site.url("/"))?;
        let asked =
            "navigator.mediaDevices.getUserMedia({video: true}).then(() => 'granted', error => error.name)";
        ensure!(tab.evaluate(asked)? == "NotAllowedError", "the camera should be refused");
        ensure!(tab.evaluate(adapter)? != true, "WebGPU came without being asked for");
        Ok(())
    })?;
    scenario::run("harness-webgpu", &Visitor { webgpu: true, ..Visitor::default() }, |tab| {
        tab.go_to(&site.url("/"))?;
        ensure!(tab.evaluate(adapter)? == true, "no WebGPU adapter");
        Ok(())
    })
}

#[test]
fn an_error_of_the_page_or_of_its_worker_fails_the_scenario() -> Result<()> {
    if scenario::is_skipped("harness-on-purpose") {
        return Ok(());
    }
    let site = Site::serve(&[
        ("/throws", "<script>setTimeout(() => { throw new Error('page broke') })</script>"),
        ("/logs", "<script>console.error('page complained')</script>"),
        (
            "/worker",
            "<script>const code = \"setTimeout(() => { console.error('worker complained') }, 300)\";
             new Worker(URL.createObjectURL(new Blob([code])));</script>",
        ),
        ("/fine", "<script>console.warn('nothing bad')</script>"),
    ])?;
    for (path, complaint) in
        [("/throws", "page broke"), ("/logs", "page complained"), ("/worker", "worker complained")]
    {
        let outcome = scenario::run("harness-on-purpose", &Visitor::default(), |tab| {
            tab.go_to(&site.url(path))?;
            tab.wait(Duration::from_millis(1_000))
        });
        let error = outcome.err().with_context(|| format!("{path} should have failed"))?;
        ensure!(format!("{error:#}").contains(complaint), "{path} fails for another reason: {error:#}");
    }
    scenario::run("harness-fine", &Visitor::default(), |tab| tab.go_to(&site.url("/fine")))
}
