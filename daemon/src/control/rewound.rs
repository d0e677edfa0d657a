//! A connection whose first bytes have been read already, by the worker that has handed it over.
//!
//! Invariant: what was read comes first and once. Not promised: that a peer whose kernel TLS is
//! full gets its close_notify; it sees a cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use towline_io::HandOff;

/// A connection whose first bytes have been read already.
pub(super) struct Rewound {
    unread: Bytes,
    stream: Stream,
}

enum Stream {
    Tcp(TcpStream),
    /// The kernel encrypts.
    KernelTls(TcpStream),
    /// The inner end of a TLS relay.
    Unix(UnixStream),
}

impl Rewound {
    pub(super) fn new(connection: HandOff) -> io::Result<Self> {
        let fd = connection.stream;
        let stream = match rustix::net::sockopt::socket_domain(&fd)? {
            rustix::net::AddressFamily::UNIX => Stream::Unix(UnixStream::from_std(
                std::os::unix::net::UnixStream::from(fd),
            )?),
            _ => {
                let encrypts = towline_sys::kernel_tls::is_attached(&fd);
                let stream = TcpStream::from_std(std::net::TcpStream::from(fd))?;
                if encrypts {
                    Stream::KernelTls(stream)
                } else {
                    Stream::Tcp(stream)
                }
            }
        };
        Ok(Self {
            unread: Bytes::from(connection.unread),
            stream,
        })
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.stream {
            Stream::Tcp(stream) | Stream::KernelTls(stream) => Pin::new(stream),
            Stream::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) | Stream::KernelTls(stream) => {
                Pin::new(stream).poll_read(context, buffer)
            }
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::KernelTls(stream) = &self.stream {
            // A full socket is that of a peer that does not read; it sees a cut.
            let _ = towline_sys::kernel_tls::close_notify(stream);
        }
        self.writer().poll_shutdown(context)
    }
}
