//! Granted folders. Opening and reading happen on other threads, so that a pipe without a writer, or a lost disk, costs
//! a call its time limit and does not block the lane for good.

use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Host as Plain, HostDescriptor as Descriptors, HostDirectoryEntryStream as Entries,
};
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    self as files, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::sync::io::streams;
use wasmtime_wasi::p2::{FsError, FsResult};

use super::waits::wait;
use crate::wasm::store_data::StoreData;

type Fd = Resource<Descriptor>;

/// Runs an operation on another thread, and waits until the call's time limit.
macro_rules! elsewhere {
    ($store_data:ident, $call:ident($($argument:expr),*)) => {{
        let interrupt = $store_data.interrupt.clone();
        let mut view = $store_data.filesystem();
        let done = wait(&interrupt, Descriptors::$call(&mut view, $($argument),*));
        done.map_err(FsError::trap).and_then(|done| done)
    }};
}

impl files::Host for StoreData {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<files::ErrorCode> {
        Ok(Plain::convert_error_code(&mut self.filesystem(), error)?.into())
    }

    fn filesystem_error_code(&mut self, error: Resource<streams::Error>) -> wasmtime::Result<Option<files::ErrorCode>> {
        Ok(Plain::filesystem_error_code(&mut self.filesystem(), error)?.map(Into::into))
    }
}

impl files::HostDescriptor for StoreData {
    fn advise(&mut self, fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> FsResult<()> {
        elsewhere!(self, advise(fd, offset, len, advice.into()))
    }

    fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        elsewhere!(self, sync_data(fd))
    }

    fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        elsewhere!(self, get_flags(fd)).map(Into::into)
    }

    fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        elsewhere!(self, get_type(fd)).map(Into::into)
    }

    fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        elsewhere!(self, set_size(fd, size))
    }

    fn set_times(&mut self, fd: Fd, access: NewTimestamp, change: NewTimestamp) -> FsResult<()> {
        elsewhere!(self, set_times(fd, access.into(), change.into()))
    }

    fn read(&mut self, fd: Fd, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        elsewhere!(self, read(fd, len, offset))
    }

    fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        elsewhere!(self, write(fd, bytes, offset))
    }

    fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        elsewhere!(self, read_directory(fd))
    }

    fn sync(&mut self, fd: Fd) -> FsResult<()> {
        elsewhere!(self, sync(fd))
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        elsewhere!(self, create_directory_at(fd, path))
    }

    fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        elsewhere!(self, stat(fd)).map(Into::into)
    }

    fn stat_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        elsewhere!(self, stat_at(fd, flags.into(), path)).map(Into::into)
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        access: NewTimestamp,
        change: NewTimestamp,
    ) -> FsResult<()> {
        elsewhere!(self, set_times_at(fd, flags.into(), path, access.into(), change.into()))
    }

    fn link_at(&mut self, fd: Fd, flags: PathFlags, old: String, to: Fd, new: String) -> FsResult<()> {
        elsewhere!(self, link_at(fd, flags.into(), old, to, new))
    }

    fn open_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        how: OpenFlags,
        access: DescriptorFlags,
    ) -> FsResult<Fd> {
        elsewhere!(self, open_at(fd, flags.into(), path, how.into(), access.into()))
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        Descriptors::drop(&mut self.filesystem(), fd)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        elsewhere!(self, readlink_at(fd, path))
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        elsewhere!(self, remove_directory_at(fd, path))
    }

    fn rename_at(&mut self, fd: Fd, old: String, to: Fd, new: String) -> FsResult<()> {
        elsewhere!(self, rename_at(fd, old, to, new))
    }

    fn symlink_at(&mut self, fd: Fd, from: String, to: String) -> FsResult<()> {
        elsewhere!(self, symlink_at(fd, from, to))
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        elsewhere!(self, unlink_file_at(fd, path))
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<streams::InputStream>> {
        Descriptors::read_via_stream(&mut self.filesystem(), fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<streams::OutputStream>> {
        Descriptors::write_via_stream(&mut self.filesystem(), fd, offset)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<streams::OutputStream>> {
        Descriptors::append_via_stream(&mut self.filesystem(), fd)
    }

    fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        let interrupt = self.interrupt.clone();
        let mut view = self.filesystem();
        wait(&interrupt, Descriptors::is_same_object(&mut view, a, b))?
    }

    fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        elsewhere!(self, metadata_hash(fd)).map(Into::into)
    }

    fn metadata_hash_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue> {
        elsewhere!(self, metadata_hash_at(fd, flags.into(), path)).map(Into::into)
    }
}

impl files::HostDirectoryEntryStream for StoreData {
    fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        let interrupt = self.interrupt.clone();
        let mut view = self.filesystem();
        let entry = wait(&interrupt, Entries::read_directory_entry(&mut view, stream)).map_err(FsError::trap)?;
        Ok(entry?.map(Into::into))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        Entries::drop(&mut self.filesystem(), stream)
    }
}
