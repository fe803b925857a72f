//! How much of anything a foreign image may have. Real images stay far below; what is above is made
//! to exhaust its reader.

/// The longest path, in bytes: Linux takes none longer (limits.h, `PATH_MAX`, less its NUL).
pub(crate) const PATH_MAX: usize = 4095;
/// The longest component of a path, in bytes (limits.h, `NAME_MAX`).
pub(crate) const NAME_MAX: usize = 255;
/// How many components a path has. What removes or walks a tree holds a descriptor for each level,
/// and a process has 1024 of them by default.
pub(crate) const DEPTH_MAX: usize = 256;
/// How many entries a layer's archive has.
pub(crate) const ENTRIES_MAX: usize = 1 << 22;
/// Bytes of all paths of a layer, implied parents counted too: a writer remembers them.
pub(crate) const NAMES_MAX: usize = 256 << 20;
/// How many files an image archive has. It holds a few for each layer.
pub(crate) const FILES_MAX: usize = 1 << 18;
/// How many layers an image has: overlayfs stacks no more (`OVL_MAX_STACK`).
pub(crate) const LAYERS_MAX: usize = 500;
/// How many images an index has, those of indexes within it too; and how many an archive.
pub(crate) const IMAGES_MAX: usize = 1 << 12;
