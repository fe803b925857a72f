//! A web server for files below /var/www/html, as a component that answers requests: no socket, no port.

use std::{
    fs,
    io::Write as _,
    path::{Component, Path, PathBuf},
};

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{
        Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    },
};

const ROOT: &str = "/var/www/html";

wasip2::http::proxy::export!(Site);

struct Site;

impl Guest for Site {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let method = request.method();
        if !matches!(method, Method::Get | Method::Head) {
            return respond(answer, 405, "text/plain", b"method not allowed\n", true);
        }
        let target = request.path_with_query().unwrap_or_default();
        let found = file(target.split('?').next().unwrap_or_default())
            .and_then(|path| Some((fs::read(&path).ok()?, kind(&path))));
        println!("{method:?} {target} {}", if found.is_some() { 200 } else { 404 });
        let (status, (content, kind)) = match found {
            Some(found) => (200, found),
            None => (404, (b"not found\n".to_vec(), "text/plain")),
        };
        respond(answer, status, kind, &content, matches!(method, Method::Get));
    }
}

/// The file that a path means; `None` where it leads elsewhere.
fn file(path: &str) -> Option<PathBuf> {
    let inside = Path::new(path.trim_start_matches('/'));
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    let file = Path::new(ROOT).join(inside);
    let file = if file.is_dir() { file.join("index.html") } else { file };
    (plain && file.is_file()).then_some(file)
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

fn respond(answer: ResponseOutparam, status: u16, kind: &str, content: &[u8], with_body: bool) {
    let headers = Fields::new();
    let length = content.len().to_string();
    for (name, value) in [("content-type", kind), ("content-length", &length)] {
        headers.append(name, value.as_bytes()).expect("a header");
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("a body");
    ResponseOutparam::set(answer, Ok(response));
    if with_body {
        // A client that is gone does not want the rest.
        let mut stream = body.write().expect("a stream");
        let _ = stream.write_all(content);
        let _ = stream.flush();
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
