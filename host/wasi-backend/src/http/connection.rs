//! A client's connection, and the requests that come by it.

use std::{convert::Infallible, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use wasmtime_wasi_http::{WasiBody, io::TokioIo};

use super::service::Shared;

/// Serves a client until it or the service has had enough.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let answering = Arc::clone(&shared);
    let service = service_fn(move |request| answer(Arc::clone(&answering), request));
    // The timer has it give up clients that do not get to the end of their headers.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What goes wrong with a connection is the client's to tell.
    tokio::select! {
        _ = &mut connection => return,
        () = shared.control().asked_to_end() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The answer of the guest, or what there is to say in its place.
async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<WasiBody>, Infallible> {
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        return Ok(plain(StatusCode::BAD_REQUEST, "the request names no host\n"));
    }
    Ok(match shared.handle(request).await {
        Ok(response) => response,
        Err(why) => {
            shared.complain(&format!("silo: a request failed: {why}"));
            plain(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n")
        }
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::from(text).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
