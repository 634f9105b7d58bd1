//! Probes: whether a service is ready.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::strategy::file::Probe;

use super::checks::http;
use super::command::Call;

/// Each try may take so long.
const TRY: Duration = Duration::from_secs(5);

/// Whether the service is ready now; else what was seen instead.
pub(super) fn ask(name: &str, probe: &Probe) -> Result<(), String> {
    if let Some(url) = &probe.http {
        let answer = http::get(url, TRY)?;
        return match answer.status {
            200..=399 => Ok(()),
            status => Err(format!("{url} answers with status {status}")),
        };
    }
    if let Some(address) = &probe.tcp {
        return connect(address).map_err(|err| format!("cannot connect to {address}: {err}"));
    }
    if let Some(path) = &probe.unix {
        return UnixStream::connect(path)
            .map(drop)
            .map_err(|err| format!("cannot connect to {path}: {err}"));
    }
    if let Some(run) = &probe.command {
        let name = format!("{name}.ready");
        let call = Call { name: &name, run, user: None, directory: None, environment: None };
        return call.complete(TRY).map(drop).map_err(|err| format!("the probe failed: {err}"));
    }
    Ok(())
}

fn connect(address: &str) -> std::io::Result<()> {
    let mut last = std::io::Error::other("that is no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TRY) {
            Ok(_) => return Ok(()),
            Err(err) => last = err,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn probe() -> Probe {
        Probe { http: None, tcp: None, unix: None, command: None, within: None }
    }

    #[test]
    fn what_listens_is_ready_and_what_does_not_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tcp = Probe { tcp: Some(address.clone()), ..probe() };
        assert_eq!(ask("a", &tcp), Ok(()));
        drop(listener);
        assert!(ask("a", &tcp).unwrap_err().contains(&address));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s").display().to_string();
        let unix = Probe { unix: Some(path.clone()), ..probe() };
        assert!(ask("a", &unix).unwrap_err().contains(&path));
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(ask("a", &unix), Ok(()));
        assert!(ask("a", &Probe { tcp: Some("nothing".into()), ..probe() }).is_err());
    }
}
