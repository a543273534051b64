//! The back door: a small endpoint over which another process, or a person with curl, makes things go wrong.
//!
//! It asks for no credentials, so it is off unless asked for, listens on loopback alone, and does not talk to
//! browsers. Answers are JSON.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /faults` | the script and how often its rules fired |
//! | `POST /faults` | sets the script in the body ([`FaultScript`]) |
//! | `DELETE /faults` | nothing goes wrong any more |
//! | `POST /late/release` | lets through what is held back |
//! | `GET /clock` | the service's time |
//! | `POST /clock` | `{"advance": 1.5, "set": "2030-01-01T00:00:00Z", "stopped": true}`, each if given; seconds |
//! | `POST /lease/break?blob=c/b` | breaks a lease; with `&take=true` somebody else then holds it |
//! | `POST /snapshot/delete?blob=c/b` | deletes a snapshot: `&which=oldest`, `newest`, `all` or its time |
//! | `POST /request` | carries out the request in the body ([`Foreign`]) with the owner's rights |
//! | `POST /power-loss` | the power fails: [`PowerLoss`] |
//! | `GET /stats` | requests and bytes by operation |
//!
//! `&account=` names another account than the development account.
//!
//! What a machine does to its managed disk can be had here, too, as a `POST /request` for `POST <disk id>/guestWrite?offset=0`,
//! `guestClear?offset=0&length=512`, `guestResize?length=...` or `guestAttach?machine=...`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::ShiftedClock;
use crate::faults::{FaultScript, Foreign, Place, PowerLoss, Which};
use crate::request::parse_query;
use crate::service::Service;
use crate::time::Timestamp;

/// The largest script.
const MAX_BODY: usize = 4 << 20;

/// What the back door opens on.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) service: Service,
    pub(crate) clock: Arc<ShiftedClock>,
    /// The account that is meant when none is named.
    pub(crate) account: String,
}

/// A refusal: its status, and why.
type Refused = (u16, String);

/// A change of the clock.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClockChange {
    set: Option<String>,
    advance: Option<f64>,
    stopped: Option<bool>,
}

/// Accepts connections until `stop` changes or its sender is gone.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let admin = admin.clone();
                    let handler = service_fn(move |request| {
                        let admin = admin.clone();
                        async move { Ok::<_, Infallible>(admin.answer(request).await) }
                    });
                    let mut server = hyper::server::conn::http1::Builder::new();
                    let served = server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), handler);
                    connections.spawn(async move { drop(served.await) });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

impl Admin {
    async fn answer(&self, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        // A page in a browser must not reach this through its user.
        let outcome = if parts.headers.contains_key("origin") {
            Err((403, "not for browsers".to_owned()))
        } else {
            let query = parse_query(parts.uri.query().unwrap_or_default());
            match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => self.route(parts.method.as_str(), parts.uri.path(), &query, &body.to_bytes()),
                Err(_) => Err((413, "the body is too long or broken".to_owned())),
            }
        };
        let (status, value) = outcome.map_or_else(|(status, why)| (status, json!({ "error": why })), |v| (200, v));
        let mut response = hyper::Response::new(Full::from(format!("{value:#}\n")));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        response
    }

    fn route(&self, method: &str, path: &str, query: &[(String, String)], body: &[u8]) -> Result<Value, Refused> {
        let get = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let blob = || {
            let resource = get("blob").filter(|blob| blob.contains('/'));
            let resource = resource.ok_or_else(|| (400, "blob=container/blob is missing".to_owned()))?;
            let account = get("account").unwrap_or(&self.account).to_owned();
            Ok::<_, Refused>(Place { account, resource: resource.to_owned() }.path(None))
        };
        match (method, path) {
            ("GET", "/faults") => Ok(json!(self.service.fault_report())),
            ("POST" | "DELETE", "/faults") => {
                let script = if method == "POST" { read(body)? } else { FaultScript::default() };
                self.service.set_faults(script);
                Ok(json!(self.service.fault_report()))
            }
            ("POST", "/late/release") => Ok(json!({ "released": self.service.release() })),
            ("GET", "/clock") => Ok(self.time()),
            ("POST", "/clock") => self.change_clock(&read(body)?),
            ("POST", "/lease/break") => {
                Ok(json!({ "broken": self.service.break_lease(&blob()?, get("take") == Some("true")) }))
            }
            ("POST", "/snapshot/delete") => {
                let which = match get("which") {
                    None | Some("oldest") => Which::Oldest,
                    Some("newest") => Which::Newest,
                    Some("all") => Which::All,
                    Some(time) => Which::At(time.to_owned()),
                };
                Ok(json!({ "deleted": self.service.delete_snapshots(&blob()?, &which) }))
            }
            ("POST", "/request") => {
                let response = self.service.intrude(&read::<Foreign>(body)?.request());
                let code = response.get("x-ms-error-code").map(str::to_owned);
                Ok(json!({ "status": response.status, "code": code, "headers": response.headers }))
            }
            ("POST", "/power-loss") => {
                let loss: PowerLoss = read(body)?;
                let outcome = self.service.lose_power(loss);
                outcome.map(|()| json!({ "outages": self.service.stats().outages })).map_err(|e| (500, e.to_string()))
            }
            ("GET", "/stats") => Ok(json!(self.service.stats())),
            _ => Err((404, format!("there is no {method} {path}"))),
        }
    }

    fn change_clock(&self, change: &ClockChange) -> Result<Value, Refused> {
        let bad = |what: &str| (400, format!("{what} makes no sense"));
        let set = match &change.set {
            Some(text) => Some(Timestamp::parse_iso(text).ok_or_else(|| bad("set"))?),
            None => None,
        };
        if set.is_some_and(|time| time < self.service.now()) {
            return Err((409, "the service does not go back in time".to_owned()));
        }
        let advance = change.advance.map(Duration::try_from_secs_f64).transpose().map_err(|_| bad("advance"))?;
        if let Some(stopped) = change.stopped {
            self.clock.stop(stopped);
        }
        if let Some(time) = set {
            self.clock.set(time);
        }
        if let Some(by) = advance {
            self.clock.advance(by);
        }
        Ok(self.time())
    }

    fn time(&self) -> Value {
        json!({ "now": self.service.now().iso(), "stopped": self.clock.is_stopped() })
    }
}

/// Reads a body; an empty one is an empty object.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}
