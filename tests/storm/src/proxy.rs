//! A TCP proxy that stands between a host and what it talks to, and can be told to cut, to delay and to heal.
//!
//! Connections that were cut do not come back: they are reset, at once or when the net heals. So no request arrives
//! long after its client has given it up, which no HTTP client could prevent.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the net is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// Each piece comes so much later.
    Up(Duration),
    /// Connections are reset, new ones too.
    Reset,
    /// Nothing comes through and nobody is told.
    Silent,
}

pub const WELL: Net = Net::Up(Duration::ZERO);

pub struct Proxy {
    pub address: SocketAddr,
    net: watch::Sender<Net>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on the port, or on a free one where it is 0.
    pub async fn start(port: u16, to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.with_context(|| format!("listening on port {port}"))?;
        let address = listener.local_addr()?;
        let (net, seen) = watch::channel(WELL);
        let accepting = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, to, seen.clone()));
                }
            }
        });
        Ok(Self { address, net, accepting })
    }

    pub fn set(&self, net: Net) {
        self.net.send_replace(net);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, to: SocketAddr, mut net: watch::Receiver<Net>) {
    if !matches!(*net.borrow(), Net::Up(_)) {
        until_healed(&mut net).await;
        reset(&client);
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else {
        reset(&client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let delays = net.clone();
    let both = async { tokio::try_join!(pump(&client, &server, &delays), pump(&server, &client, &delays)) };
    let is_whole = tokio::select! {
        // First: what comes after a cut does not come through.
        biased;
        () = until_cut(&mut net) => false,
        ended = both => ended.is_ok(),
    };
    if !is_whole {
        until_healed(&mut net).await;
        reset(&client);
        reset(&server);
    }
}

/// One direction, to its end, which is passed on.
async fn pump(from: &TcpStream, to: &TcpStream, net: &watch::Receiver<Net>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        from.readable().await?;
        let count = match from.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let delay = if let Net::Up(it) = *net.borrow() { it } else { Duration::ZERO };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    // The other side may have gone.
    let _ = socket2::SockRef::from(to).shutdown(Shutdown::Write);
    Ok(())
}

async fn until_cut(net: &mut watch::Receiver<Net>) {
    let _ = net.wait_for(|it| !matches!(it, Net::Up(_))).await;
}

/// A cut that resets tells at once.
async fn until_healed(net: &mut watch::Receiver<Net>) {
    let _ = net.wait_for(|it| *it != Net::Silent).await;
}

/// From now on its end is a reset.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Whether somebody listens there.
pub async fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Sends back what comes.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream, what: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(what).await?;
        let mut heard = vec![0; what.len()];
        stream.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn carries_cuts_and_heals() {
        let proxy = Proxy::start(0, echo().await).await.unwrap();
        for cut in [Net::Reset, Net::Silent] {
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
            proxy.set(cut);
            if cut == Net::Silent {
                stream.write_all(b"two").await.unwrap();
                let mut heard = [0];
                let heard = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut heard)).await;
                assert!(heard.is_err(), "nobody is told");
                proxy.set(WELL);
            }
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest).await;
            assert!(ended.is_err(), "{cut:?}: {ended:?}");
            proxy.set(WELL);
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            assert_eq!(said(&mut stream, b"three").await.unwrap(), b"three");
        }
    }

    #[tokio::test]
    async fn delays_each_way_and_passes_an_end_on() {
        let proxy = Proxy::start(0, echo().await).await.unwrap();
        proxy.set(Net::Up(Duration::from_millis(30)));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let began = std::time::Instant::now();
        assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
        assert!(Duration::from_millis(60) <= began.elapsed());
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
