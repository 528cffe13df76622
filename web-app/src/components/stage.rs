//! The square that both models see: live camera, a picture, or a clip.

use leptos::{ev, html, prelude::*, task::spawn_local};
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, MediaStream};

use super::icon::{Icon, IconView};
use crate::{
    film::{self, CLIP_FRAMES, Moment},
    input::refusal::{Device, device_message},
    media::{
        camera::{self, CameraChoice},
        picture::Picture,
    },
    place::View,
    state::{now_ms, use_page},
};

/// Time between the frames of a clip.
const FRAME_INTERVAL_MS: f64 = 400.0;

/// What the camera is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Camera {
    Off,
    Opening,
    Live,
    /// Taking a clip; this many frames are there.
    Filming(usize),
}

/// The stage with its buttons.
#[component]
pub(crate) fn Stage(
    #[prop(into)] on_gallery: Callback<()>,
    #[prop(into)] on_cards: Callback<()>,
    unfolded: RwSignal<bool>,
) -> impl IntoView {
    let page = use_page();
    let pictures = page.draft.pictures;
    let camera = RwSignal::new(Camera::Off);
    let stream = StoredValue::new_local(None::<MediaStream>);
    let choices = RwSignal::new(Vec::<CameraChoice>::new());
    let video: NodeRef<html::Video> = NodeRef::new();
    let file_input: NodeRef<html::Input> = NodeRef::new();

    let close = move || {
        if let Some(stream) = stream.get_value() {
            camera::close(&stream);
        }
        stream.set_value(None);
        page.viewfinder.set_value(None);
        camera.set(Camera::Off);
    };
    let open = move |id: Option<String>| {
        close();
        camera.set(Camera::Opening);
        spawn_local(async move {
            match camera::open(id.as_deref()).await {
                // The user has turned it off again while the browser asked.
                Ok(opened) if camera.get_untracked() != Camera::Opening => camera::close(&opened),
                Ok(opened) => {
                    if let Some(video) = video.get_untracked() {
                        video.set_src_object(Some(&opened));
                        // Refused only where playing needs a gesture; the button was one.
                        let _ = video.play();
                        page.viewfinder.set_value(Some(video.unchecked_into()));
                    }
                    stream.set_value(Some(opened));
                    pictures.set(Vec::new());
                    camera.set(Camera::Live);
                    choices.set(camera::list().await);
                }
                Err(exception) => {
                    camera.set(Camera::Off);
                    page.notices.error(device_message(Device::Camera, exception.name()));
                }
            }
        });
    };
    on_cleanup(close);
    // Nobody sees its picture from elsewhere.
    let place = expect_context::<RwSignal<View>>();
    Effect::new(move |_| {
        if place.get() != View::Conversation && camera.get_untracked() != Camera::Off {
            close();
        }
    });

    let take = move |frames: usize| {
        let Some(video) = page.viewfinder.get_value() else { return };
        if camera.get_untracked() != Camera::Live {
            return;
        }
        spawn_local(async move {
            let begin_ms = now_ms();
            let mut taken = Vec::with_capacity(frames);
            while taken.len() < frames {
                if frames > 1 {
                    camera.set(Camera::Filming(taken.len()));
                    sleep_until(begin_ms + taken.len() as f64 * FRAME_INTERVAL_MS).await;
                }
                let at_ms = (now_ms() - begin_ms) as u32;
                match Picture::from_video(&video, page.wanted_pictures()).await {
                    Ok(picture) => taken.push((at_ms, picture)),
                    Err(_) => break,
                }
            }
            if camera.get_untracked() == Camera::Off {
                return;
            }
            camera.set(Camera::Live);
            if taken.len() == frames {
                let duration_ms = (now_ms() - begin_ms) as u32;
                let with_moment = |(at_ms, picture)| Picture {
                    moment: (frames > 1).then_some(Moment { at_ms, duration_ms }),
                    ..picture
                };
                pictures.set(taken.into_iter().map(with_moment).collect());
            } else {
                page.notices.error("The camera shows no picture yet. Wait a moment and try again.");
            }
        });
    };

    Effect::new(move |_| {
        let is_live = camera.get() == Camera::Live;
        page.shutter.set_value(is_live.then(|| Callback::new(take)));
    });

    let has_pictures = move || pictures.with(|pictures| !pictures.is_empty());
    let is_on = move || !matches!(camera.get(), Camera::Off);
    let is_live = move || matches!(camera.get(), Camera::Live | Camera::Filming(_)) && !has_pictures();
    let is_empty = move || !is_on() && !has_pictures();
    // What was chosen takes the place of the ways to it.
    Effect::new(move |_| {
        if !is_empty() {
            unfolded.set(false);
        }
    });
    let choose = move |()| {
        if let Some(input) = file_input.get_untracked() {
            input.click();
        }
    };
    let on_files = move |event: ev::Event| {
        let input = event_target::<HtmlInputElement>(&event);
        let files = input.files().map(|list| (0..list.length()).filter_map(|i| list.get(i)).collect());
        spawn_local(async move {
            page.draft.add_files(files.unwrap_or_default(), page).await;
            // So that choosing the same file again is heard.
            input.set_value("");
        });
    };
    let caption = move || {
        let count = pictures.with(Vec::len);
        match camera.get() {
            Camera::Opening => "Waiting for the camera. The browser may ask you.".to_owned(),
            Camera::Filming(frame) => format!("Filming: frame {} of {CLIP_FRAMES}", frame + 1),
            _ if page.draft.reading.get() => match page.draft.frame.get() {
                Some((frame @ 1.., of)) => format!("Reading frame {frame} of {of}"),
                _ => "Reading the file…".to_owned(),
            },
            _ if count > 0 => film::caption(count),
            Camera::Live => "Live. Asking takes the picture, or take it now.".to_owned(),
            Camera::Off => String::new(),
        }
    };

    view! {
        <div class="stage" class:is-empty=is_empty data-testid="stage">
            <div class="frame" class:live=is_live>
                <video node_ref=video class:hidden=move || !is_live() autoplay playsinline muted prop:muted=true
                    aria-label="Live camera picture" data-testid="viewfinder"></video>
                <Show when=has_pictures>
                    <div class="pictures" class:clip=move || { pictures.with(Vec::len) > 1 } data-testid="pictures">
                        {move || pictures.with(|pictures| film::shown(pictures.len()).into_iter().map(|index| view! {
                            <img src=pictures[index].url.as_str().to_owned() data-testid="picture"
                                alt=format!("Picture {} to ask about", index + 1) />
                        }).collect_view())}
                    </div>
                </Show>
                <Show when=is_empty>
                    <div class="empty">
                        <Tile icon=Icon::Camera label="Camera" name="Use the camera" testid="camera-start"
                            on_click=move |()| open(None) />
                        <Tile icon=Icon::File label="File" name="Choose a file" testid="choose-file" on_click=choose />
                        <Tile icon=Icon::Samples label="Samples" name="Samples to try" testid="open-gallery"
                            on_click=on_gallery />
                        <Tile icon=Icon::Cards label="Cards" name="Cards to show to the camera" testid="open-cards"
                            on_click=on_cards />
                        <p class="hint">"or drop and paste pictures, videos and sounds anywhere"</p>
                    </div>
                </Show>
                <Show when=move || camera.get() == Camera::Opening>
                    <div class="opening" aria-hidden="true"><span class="spinner"></span></div>
                </Show>
            </div>
            <p class="caption" data-testid="stage-caption">{caption}</p>
            <div class="buttons">
                <Show when=move || page.draft.frame.with(|frame| frame.is_some_and(|(frame, _)| frame > 0))>
                    <button type="button" class="secondary" data-testid="stop-reading"
                        on:click=move |_| page.draft.frame.set(None)>
                        <IconView icon=Icon::Stop /> "Stop reading"
                    </button>
                </Show>
                <Show when=is_live>
                    <button type="button" class="secondary" data-testid="snapshot" aria-keyshortcuts="S" on:click=move |_| take(1)
                        prop:disabled=move || matches!(camera.get(), Camera::Filming(_))>
                        <IconView icon=Icon::Camera /> "Take picture"
                    </button>
                    <button type="button" class="secondary" data-testid="clip" aria-keyshortcuts="C" on:click=move |_| take(CLIP_FRAMES)
                        prop:disabled=move || matches!(camera.get(), Camera::Filming(_))>
                        <IconView icon=Icon::Clip /> "4-frame clip"
                    </button>
                </Show>
                <Show when=has_pictures>
                    <button type="button" class="secondary" data-testid="retake"
                        on:click=move |_| pictures.set(Vec::new())>
                        {move || view! { <IconView icon=if is_on() { Icon::Retry } else { Icon::Close } /> }}
                        {move || if is_on() { "Retake" } else { "Remove" }}
                    </button>
                </Show>
                <Show when=is_on>
                    <button type="button" class="quiet" data-testid="camera-stop" aria-label="Turn off the camera"
                        on:click=move |_| close()>
                        "Turn off"
                    </button>
                </Show>
                <Show when=move || is_live() && choices.with(Vec::len) != 1 && choices.with(|list| !list.is_empty())>
                    <select aria-label="Camera" data-testid="camera-choice"
                        on:change=move |event| open(Some(event_target_value(&event)))>
                        {move || choices.get().into_iter().map(|choice| {
                            let id = choice.id.clone();
                            let chosen = move || stream.with_value(|s| s.as_ref().is_some_and(|s| shows(s, &id)));
                            view! { <option value=choice.id.clone() selected=chosen>{choice.label}</option> }
                        }).collect_view()}
                    </select>
                </Show>
            </div>
            <input node_ref=file_input type="file" class="hidden" multiple tabindex="-1" aria-hidden="true"
                accept="image/png,image/jpeg,image/webp,video/*,audio/*" data-testid="file-input" on:change=on_files />
        </div>
    }
}

/// A way to a picture or a sound; its name begins with what is shown of it.
#[component]
fn Tile(
    icon: Icon,
    label: &'static str,
    name: &'static str,
    testid: &'static str,
    #[prop(into)] on_click: Callback<()>,
) -> impl IntoView {
    view! {
        <button type="button" class="tile" data-testid=testid title=name on:click=move |_| on_click.run(())>
            <IconView icon=icon /> <span class="tile-label">{label}</span>
        </button>
    }
}

/// Whether the stream comes from the camera of this id.
fn shows(stream: &MediaStream, id: &str) -> bool {
    let track = stream.get_video_tracks().get(0).unchecked_into::<web_sys::MediaStreamTrack>();
    track.get_settings().get_device_id().is_some_and(|shown| shown == id)
}

async fn sleep_until(at_ms: f64) {
    let left_ms = (at_ms - now_ms()).max(0.0);
    gloo_timers::future::TimeoutFuture::new(left_ms as u32).await;
}
