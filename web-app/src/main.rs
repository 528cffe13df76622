//! Entry point of the page; natively there is nothing to enter.

fn main() {
    #[cfg(target_arch = "wasm32")]
    leptos::mount::mount_to_body(msao_web::App);
}
