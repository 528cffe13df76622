//! The files that are served: the page at `/` and the checkpoints under `/weights/`.

mod file;
mod isolation;
mod mime;
mod package;
mod page;
mod policy;
mod range;
mod weights;

use std::path::PathBuf;

use actix_web::guard;
use actix_web::web::{self, ServiceConfig};

use crate::edge_models::EdgeModels;

pub(crate) use policy::content_security_policy;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Assets {
    /// The built page; may be missing, and then a page says how to build it.
    pub page: PathBuf,
    /// The checkpoints that may be downloaded.
    pub edge_models: EdgeModels,
}

/// The route of the page, which takes all paths that no other route takes.
pub(crate) const PAGE_ROUTE: &str = "/{path:.*}";
/// The route of the list of checkpoints.
pub(crate) const LISTING_ROUTE: &str = "/weights/index.json";
/// The route of checkpoints' files.
pub(crate) const WEIGHTS_ROUTE: &str = "/weights/{checkpoint}/{file}";

/// Registers the routes; the page takes whatever no other route has taken.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let readable = || guard::Any(guard::Get()).or(guard::Head());
    config
        .route(LISTING_ROUTE, web::route().guard(readable()).to(weights::list))
        .route(WEIGHTS_ROUTE, web::route().guard(readable()).to(weights::serve))
        .route(PAGE_ROUTE, web::route().guard(readable()).to(page::serve));
}
