//! `wasi:filesystem` over the guest's view of files ([`crate::vfs`]).
//!
//! wasip1 modules reach it too: they are wrapped as components with the preview 1 adapter.
//! Every operation is synchronous: what it touches is local.

mod descriptor;
mod directory;
mod sockets;
mod streams;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{network::Net, vfs::Vfs};

mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::pedantic)]

    wasmtime::component::bindgen!({
        path: "wit",
        world: "silo:guest/guest",
        imports: { default: trappable },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::FsError,
        },
        with: {
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,
            "wasi:clocks/wall-clock": wasmtime_wasi::p2::bindings::clocks::wall_clock,
            "wasi:filesystem/types.descriptor": super::descriptor::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::directory::Entries,
        },
        require_store_data_send: true,
    });
}

pub(crate) use bindings::wasi::filesystem::types::ErrorCode;
use bindings::wasi::filesystem::{preopens, types};
use descriptor::Descriptor;
pub(crate) use sockets::{add_to_linker as add_accept_to_linker, count as count_listeners};

/// An operation's failure.
#[derive(Debug)]
pub(crate) enum FsError {
    /// The guest is told.
    Code(ErrorCode),
    /// The guest broke the interface's rules, and traps.
    Trap(wasmtime::Error),
}

type Result<T, E = FsError> = std::result::Result<T, E>;

impl From<ErrorCode> for FsError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<wasmtime::component::ResourceTableError> for FsError {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// A store's part that this interface works on.
pub(crate) struct FilesystemView<'a> {
    pub(crate) vfs: &'a Arc<Vfs>,
    pub(crate) table: &'a mut ResourceTable,
    /// Whose published ports are open files of the guest's.
    pub(crate) listens: Option<&'a Arc<Net>>,
}

struct HasFilesystem;

impl HasData for HasFilesystem {
    type Data<'a> = FilesystemView<'a>;
}

/// Offers `wasi:filesystem` to guests whose store holds a `T`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> FilesystemView<'_>,
) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasFilesystem>(linker, view)?;
    preopens::add_to_linker::<T, HasFilesystem>(linker, view)
}

impl preopens::Host for FilesystemView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = Descriptor::directory(self.vfs.root(), true);
        let mut open = self.listeners()?;
        open.push((self.table.push(root)?, "/".to_owned()));
        Ok(open)
    }
}

impl types::Host for FilesystemView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        match error {
            FsError::Code(code) => Ok(code),
            FsError::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }
}
