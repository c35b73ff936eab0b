//! The control socket: one line of JSON in, one out.
//!
//! Owns the listening socket and the bounds on what a client may cost: connections, request
//! length, time. Knows nothing of the election: a request is handed over with a channel for its
//! answer.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Version of the request language.
pub const PROTOCOL: u32 = 1;
/// Connections served at a time; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 8;
/// Longest request, in bytes.
const MAX_REQUEST: u64 = 4096;
/// How long a client may take to send its request or to read its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// [`crate::status::Status`].
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    protocol: u32,
    verb: Verb,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    error: String,
}

/// A request on its way to whoever can answer it.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// Where one line of JSON is expected.
    pub answer: oneshot::Sender<String>,
}

/// Errors of either end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made.
    #[error("control socket {path}: cannot listen")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent answers on the socket.
    #[error("control socket {0}: another ha-agent is running; stop it or set another run_dir")]
    Running(PathBuf),
    /// No agent answers on the socket.
    #[error("no ha-agent answers on {path}: {source}; start it, or name its socket with --socket")]
    NotRunning {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent did not answer in time, or not in its language.
    #[error("ha-agent on {path}: {what}")]
    BadAnswer {
        /// Where.
        path: PathBuf,
        /// What came instead.
        what: String,
    },
}

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    socket: UnixListener,
}

impl Listener {
    /// Listens on `path`, mode 0600; a socket left behind by a dead agent is replaced.
    ///
    /// # Errors
    /// [`Error::Running`] when somebody answers there, [`Error::Listen`] for everything else.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Listen {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        if path.exists() {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(Error::Running(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        let socket = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    /// Serves clients until the channel closes.
    pub async fn serve(self, requests: mpsc::Sender<Request>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let stream = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of descriptors: wait for one to come free instead of spinning.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = requests.closed() => return,
            };
            let requests = requests.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, answer(stream, requests)).await;
                drop(slot);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, requests: mpsc::Sender<Request>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read.take(MAX_REQUEST))
        .read_until(b'\n', &mut line)
        .await?;
    let reply = match serde_json::from_slice::<Line>(&line) {
        Ok(request) if request.protocol == PROTOCOL => {
            let (answer, reply) = oneshot::channel();
            let verb = request.verb;
            if requests.send(Request { verb, answer }).await.is_err() {
                return Ok(());
            }
            reply
                .await
                .unwrap_or_else(|_| refusal("the agent is stopping"))
        }
        Ok(request) => refusal(&format!(
            "protocol {} is not spoken here, {PROTOCOL} is",
            request.protocol
        )),
        Err(error) => refusal(&format!(
            "a request is one line like {{\"protocol\":{PROTOCOL},\"verb\":\"status\"}}: {error}"
        )),
    };
    write.write_all(reply.as_bytes()).await?;
    write.write_all(b"\n").await
}

fn refusal(error: &str) -> String {
    serde_json::json!({ "error": error }).to_string()
}

/// Asks the agent on `path` and returns its line.
///
/// # Errors
/// [`Error::NotRunning`] when nobody listens, [`Error::BadAnswer`] for silence or a refusal.
pub fn ask(path: &Path, verb: Verb) -> Result<String, Error> {
    use std::io::{BufRead, Write};
    let not_running = |source| Error::NotRunning {
        path: path.to_owned(),
        source,
    };
    let bad = |what: String| Error::BadAnswer {
        path: path.to_owned(),
        what,
    };
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(not_running)?;
    stream
        .set_read_timeout(Some(2 * PATIENCE))
        .map_err(not_running)?;
    let mut request = serde_json::json!({ "protocol": PROTOCOL, "verb": verb }).to_string();
    request.push('\n');
    stream
        .write_all(request.as_bytes())
        .map_err(|error| bad(error.to_string()))?;
    let mut line = String::new();
    std::io::BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|error| bad(error.to_string()))?;
    if line.is_empty() {
        return Err(bad("closed the connection without an answer".to_owned()));
    }
    match serde_json::from_str::<Refusal>(&line) {
        Ok(refusal) => Err(bad(refusal.error)),
        Err(_) => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Runs `client` against a listener whose agent answers every request with `{"ok":1}`.
    fn with_agent<T: Send + 'static>(client: impl FnOnce(&Path) -> T + Send + 'static) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = Listener::bind(&path).unwrap();
            assert!(matches!(Listener::bind(&path), Err(Error::Running(_))));
            let (requests, mut inbox) = mpsc::channel::<Request>(4);
            tokio::spawn(listener.serve(requests));
            tokio::spawn(async move {
                while let Some(request) = inbox.recv().await {
                    let _ = request.answer.send("{\"ok\":1}".to_owned());
                }
            });
            let path = path.clone();
            tokio::task::spawn_blocking(move || client(&path))
                .await
                .unwrap()
        })
    }

    fn raw(path: &Path, bytes: &[u8]) -> String {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_question_is_answered() {
        assert_eq!(
            with_agent(|path| ask(path, Verb::Status).unwrap()),
            "{\"ok\":1}\n"
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_right_form() {
        let answer = with_agent(|path| raw(path, b"\xff\x00status\n"));
        assert!(answer.contains("\\\"verb\\\":\\\"status\\\""), "{answer}");
        let answer = with_agent(|path| raw(path, &[b'x'; 100_000]));
        assert!(answer.is_empty() || answer.contains("error"), "{answer}");
        let answer = with_agent(|path| raw(path, b"{\"protocol\":9,\"verb\":\"status\"}\n"));
        assert!(answer.contains("protocol 9 is not spoken"), "{answer}");
    }

    #[test]
    fn an_absent_agent_is_named() {
        let error = ask(Path::new("/nonexistent/control.sock"), Verb::Status).unwrap_err();
        assert!(matches!(error, Error::NotRunning { .. }), "{error}");
    }

    #[test]
    fn a_dead_agents_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        Listener::bind(&path).unwrap();
    }
}
