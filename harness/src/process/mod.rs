//! Processes of the target: images, tree, procfs.
