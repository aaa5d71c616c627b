//! inet_diag: listeners and connections by netlink, and the DESTROY groups.
