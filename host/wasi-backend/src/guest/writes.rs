//! Writes of more than 4096 bytes in one call.
//!
//! `wasi:io/streams` lets a guest count on 4096 bytes in `blocking-write-and-flush`, and wasmtime-wasi traps
//! a guest that passes more. A file takes any number at once: silo's adapter for WASI 0.1 makes use of that.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_io::{
    IoView as _,
    bindings::wasi::io::streams::{self, Host as _},
    streams::DynOutputStream,
};

use super::Guest;

/// As wasmtime-wasi-io names it.
const STREAMS: &str = "wasi:io/streams@0.2.12";

/// Replaces the function that is there.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(STREAMS)?.func_wrap_async(
        "[method]output-stream.blocking-write-and-flush",
        |store, parameters| Box::new(write(store, parameters)),
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Written = Result<(), streams::StreamError>;

async fn write(
    mut store: StoreContextMut<'_, Guest>,
    (stream, bytes): (Resource<DynOutputStream>, Vec<u8>),
) -> wasmtime::Result<(Written,)> {
    let table = store.data_mut().table();
    let written = match table.get_mut(&stream) {
        Ok(stream) => stream.blocking_write_and_flush(bytes.into()).await,
        Err(error) => return Err(error.into()),
    };
    Ok((match written {
        Ok(()) => Ok(()),
        Err(error) => Err(table.convert_stream_error(error)?),
    },))
}
