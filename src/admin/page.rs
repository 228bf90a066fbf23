//! The page and its assets, compiled in.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::request::Name;

pub(super) async fn index() -> Response {
    serve("text/html; charset=utf-8", include_str!("assets/index.html"))
}

pub(super) async fn asset(Name(name): Name) -> Response {
    let text = match name.as_str() {
        "alerts.js" => include_str!("assets/alerts.js"),
        "base.js" => include_str!("assets/base.js"),
        "page.js" => include_str!("assets/page.js"),
        "paint.js" => include_str!("assets/paint.js"),
        "sources.js" => include_str!("assets/sources.js"),
        "whep.js" => include_str!("assets/whep.js"),
        "page.css" => return serve("text/css; charset=utf-8", include_str!("assets/page.css")),
        _ => return ApiError::not_found("there is no such asset").into_response(),
    };
    serve("text/javascript; charset=utf-8", text)
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}
