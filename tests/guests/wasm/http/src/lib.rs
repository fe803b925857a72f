//! A server that does what the path says.

use std::{
    env, fs,
    io::{Read as _, Write as _},
};

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
            ResponseOutparam, Scheme,
        },
    },
};

wasip2::http::proxy::export!(Server);

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/" => text(answer, 200, "hello\n"),
            "/echo" => echo(request, answer),
            "/big" => big(answer, query.parse().unwrap_or(0)),
            "/wait" => {
                subscribe_duration(query.parse::<u64>().unwrap_or(0) * 1_000_000).block();
                text(answer, 200, "waited\n");
            }
            "/env" => text(answer, 200, &env::var(query).unwrap_or_default()),
            "/file" => match fs::read_to_string(query) {
                Ok(content) => text(answer, 200, &content),
                Err(error) => text(answer, 404, &format!("{error}\n")),
            },
            "/write" => {
                let written = fs::write(query, "written by a request\n");
                text(answer, 200, &format!("{written:?}\n"));
            }
            "/log" => {
                println!("out {query}");
                eprintln!("err {query}");
                text(answer, 200, "logged\n");
            }
            "/fetch" => fetch(answer, query),
            "/spin" => loop {
                std::hint::black_box(0);
            },
            "/grow" => {
                let mut all = Vec::new();
                while all.len() < 4096 {
                    all.push(vec![1_u8; 1 << 20]);
                }
                text(answer, 200, "grown\n");
            }
            "/trap" => std::process::abort(),
            "/silent" => {}
            _ => text(answer, 404, "not found\n"),
        }
    }
}

fn text(answer: ResponseOutparam, status: u16, content: &str) {
    let headers = Fields::new();
    headers.append("content-length", content.len().to_string().as_bytes()).unwrap();
    respond_with(headers, answer, status, |body| drop(body.write_all(content.as_bytes())));
}

fn respond(
    answer: ResponseOutparam,
    status: u16,
    write: impl FnOnce(&mut wasip2::io::streams::OutputStream),
) {
    respond_with(Fields::new(), answer, status, write);
}

fn respond_with(
    headers: Fields,
    answer: ResponseOutparam,
    status: u16,
    write: impl FnOnce(&mut wasip2::io::streams::OutputStream),
) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    write(&mut stream);
    let _ = stream.flush();
    drop(stream);
    // A client that asked for the head alone has not let anything be written.
    let _ = OutgoingBody::finish(body, None);
}

fn echo(request: IncomingRequest, answer: ResponseOutparam) {
    let body = request.consume().unwrap();
    let mut input = body.stream().unwrap();
    respond(answer, 200, |output| {
        let mut buffer = vec![0; 65536];
        while let Ok(count @ 1..) = std::io::Read::read(&mut input, &mut buffer) {
            if output.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
}

fn big(answer: ResponseOutparam, kilobytes: usize) {
    respond(answer, 200, |output| {
        for _ in 0..kilobytes {
            if output.write_all(&[b'x'; 1024]).is_err() {
                break;
            }
        }
    });
}

/// Asks another server, and tells its status and answer, or the error by its name.
fn fetch(answer: ResponseOutparam, url: &str) {
    let told = match ask(url) {
        Ok(told) => told,
        Err(error) => format!("error {error}\n"),
    };
    text(answer, 200, &told);
}

fn ask(url: &str) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_method(&Method::Get).map_err(|()| "method")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "path")?;
    let answer = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    answer.subscribe().block();
    let response = answer.get().ok_or("nothing")?.map_err(|()| "taken")?;
    let response = response.map_err(|code| format!("{code:?}"))?;
    let body = response.consume().map_err(|()| "no body")?;
    let mut content = String::new();
    body.stream().map_err(|()| "no stream")?.read_to_string(&mut content).map_err(|e| e.to_string())?;
    Ok(format!("{} {content}", response.status()))
}
