//! The page and its assets, compiled in.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::request::Name;

pub(super) async fn index() -> Response {
    serve("text/html; charset=utf-8", include_str!("assets/index.html"))
}

pub(super) async fn asset(Name(name): Name) -> Response {
    match name.as_str() {
        "page.js" => serve("text/javascript; charset=utf-8", include_str!("assets/page.js")),
        "page.css" => serve("text/css; charset=utf-8", include_str!("assets/page.css")),
        _ => ApiError::not_found("there is no such asset").into_response(),
    }
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}
