//! Runs calls that wait for the engine on blocking threads, with a bounded number at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task;

use super::error::ApiError;

/// Maximum concurrent calls; more get 503. The engine applies one change at a time.
const CALLS_MAX: usize = 8;
/// `Retry-After` for a refused call.
const RETRY_AFTER_S: u32 = 1;

/// A semaphore for calls that wait.
#[derive(Clone)]
pub(super) struct Work(Arc<Semaphore>);

impl Work {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CALLS_MAX)))
    }

    /// Runs a blocking call. It continues to its end even if the caller is gone.
    ///
    /// # Errors
    /// 503 if too many are running; 500 if the call panicked.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            let message = format!("{CALLS_MAX} calls are under way, and no more are taken");
            return Err(ApiError::busy(&message, RETRY_AFTER_S));
        };
        let made = task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        made.await.map_err(|_| ApiError::ours())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn calls_beyond_the_limit_are_refused_until_one_ends() {
        let work = Work::new();
        let (release, gates): (Vec<_>, Vec<_>) = (0..CALLS_MAX).map(|_| sync_channel::<()>(0)).unzip();
        let mut calls = task::JoinSet::new();
        for gate in gates {
            let work = work.clone();
            calls.spawn(async move { work.call(move || gate.recv()).await });
        }
        while work.0.available_permits() > 0 {
            task::yield_now().await;
        }
        let refused = work.call(|| ()).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 503);
        // The end of the channel ends the calls.
        drop(release);
        while calls.join_next().await.is_some() {}
        assert!(work.call(|| ()).await.is_ok());
    }
}
