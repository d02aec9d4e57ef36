//! openraft's runtime on tokio, with the chance of the simulated world: which node campaigns first follows from the seed.

use std::future::Future;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend, Select2, Select3, Select4};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use real::TokioRuntime as Real;

/// The runtime.
#[derive(Debug)]
pub struct TokioRuntime(Real);

impl AsyncRuntime for TokioRuntime {
    type JoinError = <Real as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Real as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Real as AsyncRuntime>::Sleep;
    type Instant = <Real as AsyncRuntime>::Instant;
    type TimeoutError = <Real as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Real as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <Real as AsyncRuntime>::Mpsc;
    type Watch = <Real as AsyncRuntime>::Watch;
    type Oneshot = <Real as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Real as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Real::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Real::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Real::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Real::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Real::timeout_at(deadline, future)
    }

    fn select2<A, B>(a: A, b: B) -> impl Future<Output = Select2<A::Output, B::Output>> + OptionalSend
    where
        A: Future + OptionalSend,
        B: Future + OptionalSend,
    {
        Real::select2(a, b)
    }

    fn select3<A, B, C>(
        a: A,
        b: B,
        c: C,
    ) -> impl Future<Output = Select3<A::Output, B::Output, C::Output>> + OptionalSend
    where
        A: Future + OptionalSend,
        B: Future + OptionalSend,
        C: Future + OptionalSend,
    {
        Real::select3(a, b, c)
    }

    fn select4<A, B, C, D>(
        a: A,
        b: B,
        c: C,
        d: D,
    ) -> impl Future<Output = Select4<A::Output, B::Output, C::Output, D::Output>> + OptionalSend
    where
        A: Future + OptionalSend,
        B: Future + OptionalSend,
        C: Future + OptionalSend,
        D: Future + OptionalSend,
    {
        Real::select4(a, b, c, d)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Real::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SmallRng::seed_from_u64(aumbry_sim_world::seed())
    }

    fn new(threads: usize) -> Self {
        Self(Real::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }
}
