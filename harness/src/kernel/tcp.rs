//! TCP sockets: nonblocking connect, TCP_INFO.
