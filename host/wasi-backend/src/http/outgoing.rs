//! Requests that guests make: to whom the policy allows, at the addresses that it knows.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Request, Response, Uri, client::conn::http1, http::uri::Scheme};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, io::TokioIo};

use crate::network::{NameError, Net, Room};

/// How long each step may take where the guest does not say.
const PATIENCE: Duration = Duration::from_mins(10);

/// A guest's way out.
pub(crate) struct Hooks {
    net: Arc<Net>,
}

impl Hooks {
    pub(crate) fn new(net: &Arc<Net>) -> Self {
        Self { net: Arc::clone(net) }
    }
}

/// What goes on when there is a response: the connection's end.
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Rest), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Rest,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let net = Arc::clone(&self.net);
        Box::new(send(net, request, options.unwrap_or_default()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn send(net: Arc<Net>, mut request: Request<WasiBody>, options: RequestOptions) -> Sent {
    let uri = request.uri().clone();
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?.to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let room = net.room().ok_or(Error::ConnectionLimitReached)?;
    let patience = options.connect_timeout.unwrap_or(PATIENCE);
    let connected = timeout(patience, connect(Arc::clone(&net), host.clone(), port, is_tls)).await;
    let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
    // A server wants the path alone; the host is in a header.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = Box::pin(async move {
        let _room: Room = room;
        connection.await.map_err(Error::from)
    });
    let patience = options.first_byte_timeout.unwrap_or(PATIENCE);
    let response = timeout(patience, async {
        let mut response = Box::pin(sender.send_request(request));
        tokio::select! {
            response = &mut response => response.map_err(Error::from),
            ended = &mut connection => match ended {
                Ok(()) => response.await.map_err(Error::from),
                Err(error) => Err(error),
            },
        }
    });
    let response = response.await.map_err(|_| Error::ConnectionReadTimeout)??;
    let between = options.between_bytes_timeout.unwrap_or(PATIENCE);
    let response = response.map(|body| Timed { body, between, waiting: None }.boxed_unsync());
    Ok((response, Box::new(connection)))
}

/// Connects to the first address that takes it, of those that the guest may reach by this name.
async fn connect(
    net: Arc<Net>,
    host: String,
    port: u16,
    is_tls: bool,
) -> Result<Box<dyn Stream>, Error> {
    let asked = (Arc::clone(&net), host.clone());
    let routes = if net.policy.known(&host).is_some() {
        net.policy.routes(&host, port)
    } else {
        let asked = move || asked.0.policy.routes(&asked.1, port);
        let answer = tokio::task::spawn_blocking(asked).await;
        answer.map_err(|error| Error::InternalError(Some(error.to_string())))?
    };
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for route in routes.map_err(denied)? {
        match TcpStream::connect(route).await {
            Ok(stream) => return dress(&net, stream, &host, is_tls).await,
            Err(error) => failed = error,
        }
    }
    Err(Error::Connect(failed))
}

fn denied(error: NameError) -> Error {
    let dns = |rcode: &str| Error::DnsError { rcode: Some(rcode.to_owned()), info_code: None };
    match error {
        NameError::Denied => Error::HttpRequestDenied,
        NameError::Invalid => Error::HttpRequestUriInvalid,
        NameError::Unknown => dns("NXDOMAIN"),
        NameError::TooMany => dns("REFUSED"),
    }
}

async fn dress(
    net: &Net,
    stream: TcpStream,
    host: &str,
    is_tls: bool,
) -> Result<Box<dyn Stream>, Error> {
    let _ = stream.set_nodelay(true);
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let trust = net.trust().ok_or(Error::ConfigurationError)?;
    let stream = TlsConnector::from(trust).connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

/// A response's body that is not waited for for ever.
struct Timed {
    body: hyper::body::Incoming,
    between: Duration,
    waiting: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl hyper::body::Body for Timed {
    type Data = bytes::Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Error>>> {
        use std::task::Poll;
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let between = this.between;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        waiting.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
