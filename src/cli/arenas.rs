//! How many heaps the allocator keeps.

/// From now on, before any thread is started, there are two heaps for all threads. glibc would make one per thread, up to eight a processor, and what a
/// thread freed stays in its heap. After a `find` over two million files a mount with 16 threads and
/// a cache of 64 MiB held 330 MB so, and holds 196; ingests of the benchmark's corpora peak 12 to
/// 18 MB lower. Neither takes longer. `mallopt(3)`; elsewhere than with glibc nothing is set.
pub(crate) fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes two integers; it is thread-safe, and what is allocated stays where it is.
        #[expect(unsafe_code)]
        let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
        if taken == 0 {
            tracing::debug!("the allocator does not take a limit of its heaps");
        }
    }
}
