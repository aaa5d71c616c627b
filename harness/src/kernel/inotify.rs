//! inotify on one directory.
