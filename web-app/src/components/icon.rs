//! Drawn signs, each beside a word: none says anything alone.

use leptos::prelude::*;

/// Paths on a 24 by 24 grid, drawn with a round pen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Camera,
    Cards,
    Chart,
    Check,
    Clip,
    Close,
    Cloud,
    Copy,
    Device,
    Down,
    File,
    Info,
    Keyboard,
    Locked,
    Microphone,
    New,
    Offline,
    Pause,
    Pencil,
    Play,
    Retry,
    Samples,
    Send,
    Settings,
    Shield,
    Stop,
    Unlocked,
    Up,
    Warning,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Camera => "M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
            Self::Cards => "M8 4h11v13H8zM5 8v12h11",
            Self::Chart => "M4 4v16h16M8 15l4-5 3 3 5-7",
            Self::Check => "M5 12.5l4.5 4.5L19 7.5",
            Self::Clip => "M3 6h18v12H3zM8 6v12M16 6v12M3 12h18",
            Self::Close => "M6 6l12 12M18 6L6 18",
            Self::Cloud => "M7 18a4 4 0 0 1-.5-8A6 6 0 0 1 18 9.5a4.2 4.2 0 0 1-.5 8.5z",
            Self::Copy => "M9 9h11v11H9zM5 15H4V4h11v1",
            Self::Device => "M7 3h10v18H7zM11 18h2",
            Self::Down => "M12 5v13M6 12.5l6 6 6-6",
            Self::File => "M6 3h8l4 4v14H6zM14 3v4h4M12 18v-6M9.5 14.5L12 12l2.5 2.5",
            Self::Info => "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8v.01",
            Self::Keyboard => "M3 6h18v12H3zM7 10v.01M11 10v.01M15 10v.01M8 14h8",
            Self::New => "M12 5v14M5 12h14",
            Self::Offline => "M7 18a4 4 0 0 1-.5-8A6 6 0 0 1 18 9.5a4.2 4.2 0 0 1-.5 8.5zM4 4l16 16",
            Self::Settings => {
                "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z"
            }
            Self::Shield => "M12 3l8 3v6c0 4.5-3.4 7.6-8 9-4.6-1.4-8-4.5-8-9V6zM8.5 12l2.5 2.5 4.5-4.5",
            Self::Locked => "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11M12 14.5v2",
            Self::Microphone => {
                "M12 15a3.5 3.5 0 0 0 3.5-3.5v-5a3.5 3.5 0 0 0-7 0v5A3.5 3.5 0 0 0 12 15zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"
            }
            Self::Pause => "M8 5v14M16 5v14",
            Self::Pencil => "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
            Self::Play => "M8 5l11 7-11 7z",
            Self::Retry => "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
            Self::Samples => "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
            Self::Send => "M12 19V6M6 11.5L12 5.5l6 6",
            Self::Stop => "M7 7h10v10H7z",
            Self::Unlocked => "M6 11h12v9H6zM8.5 11V7a3.5 3.5 0 0 1 6.8-1.2M12 14.5v2",
            Self::Up => "M12 19V6M6 11.5l6-6 6 6",
            Self::Warning => "M12 4l9 16H3zM12 10v4M12 17v.01",
        }
    }
}

/// Draws an icon at the size of the text around it.
#[component]
pub(crate) fn IconView(icon: Icon) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
            <path d=icon.path() />
        </svg>
    }
}
