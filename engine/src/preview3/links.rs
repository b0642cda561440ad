//! How functions come into the linker that wait beside others, and those that take or give streams.

use std::fmt::Debug;
use std::future::poll_fn;
use std::task::Poll;

use wasmtime::component::{Accessor, ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime::{AsContextMut, StoreContextMut};

use super::waits::{Wait, attempt};
use crate::host::{CALL_FUEL, Host};
use crate::meter;
use crate::preview2::links::{Call, Halt, Interface, Weight, outcome, tell};
use crate::trace::{self, CallOutcome};

impl Interface<'_> {
    /// Links an asynchronous function. It is made again until it need not wait; it is told whether it is made for the first
    /// time, and may keep in its arguments how far it came.
    pub(crate) fn concurrent<P, T, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        T: ComponentType + Lower + Debug + Send + Sync + 'static,
        F: Fn(&mut Call<'_>, &mut P, bool) -> Result<T, Halt> + Copy + Send + Sync + 'static,
    {
        self.concurrent_list(name, move |call: &mut Call<'_>, arguments: &mut P, (): &mut (), first| {
            function(call, arguments, first).map(|value| (value,))
        })
    }

    /// The same for one that gives nothing back.
    pub(crate) fn concurrent_silent<P, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        F: Fn(&mut Call<'_>, &mut P, bool) -> Result<(), Halt> + Copy + Send + Sync + 'static,
    {
        self.concurrent_list(name, move |call: &mut Call<'_>, arguments: &mut P, (): &mut (), first| {
            function(call, arguments, first)
        })
    }

    /// The same for one that keeps something beside its arguments.
    pub(crate) fn concurrent_with<P, S, T, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        S: Default + Send + 'static,
        T: ComponentType + Lower + Debug + Send + Sync + 'static,
        F: Fn(&mut Call<'_>, &mut P, &mut S) -> Result<T, Halt> + Copy + Send + Sync + 'static,
    {
        self.concurrent_list(name, move |call: &mut Call<'_>, arguments: &mut P, state: &mut S, _| {
            function(call, arguments, state).map(|value| (value,))
        })
    }

    fn concurrent_list<P, S, R, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        S: Default + Send + 'static,
        R: ComponentNamedList + Lower + Debug + Send + Sync + 'static,
        F: Fn(&mut Call<'_>, &mut P, &mut S, bool) -> Result<R, Halt> + Copy + Send + Sync + 'static,
    {
        let traced = self.traced.then_some(name);
        self.instance.func_wrap_concurrent(name, move |accessor: &Accessor<Host>, arguments: P| {
            Box::pin(wait(accessor, arguments, traced, function))
        })
    }

    /// Links a function that takes or gives streams and futures. These have handles of wasmtime's own, for which it needs
    /// the whole store.
    pub(crate) fn piping<P, T, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        T: ComponentType + Lower + Send + 'static,
        F: Fn(&mut StoreContextMut<'_, Host>, P) -> wasmtime::Result<T> + Send + Sync + 'static,
    {
        let traced = self.traced;
        self.instance.func_wrap(name, move |mut store: StoreContextMut<'_, Host>, arguments: P| {
            meter::check(&store)?;
            let polls = store.data().shared.lock().polls;
            meter::charge(&mut store, CALL_FUEL, polls);
            let result = function(&mut store, arguments);
            if traced {
                tell(&store, name, "streams".to_owned(), outcome(result.as_ref().ok().map(|_| &())));
            }
            result.map(|value| (value,))
        })
    }
}

/// Makes a call until it need not wait.
async fn wait<P, S, R, F>(
    accessor: &Accessor<Host>,
    mut arguments: P,
    traced: Option<&'static str>,
    function: F,
) -> wasmtime::Result<R>
where
    P: Weight + Debug + Send,
    S: Default + Send,
    R: Debug + Send,
    F: Fn(&mut Call<'_>, &mut P, &mut S, bool) -> Result<R, Halt> + Copy + Send + Sync,
{
    let words = traced.map(|name| (name, trace::words(&arguments)));
    let (mut place, mut state) = (Wait::default(), S::default());
    poll_fn(move |context| {
        accessor.with(|mut access| {
            let store = &mut access.as_context_mut();
            let made = attempt(store, &mut place, context, |call, first| {
                if first {
                    call.kernel.copied(arguments.bytes());
                }
                function(call, &mut arguments, &mut state, first)
            });
            if let Some((name, arguments)) = &words {
                let outcome = match &made {
                    Poll::Pending => CallOutcome::Waits,
                    Poll::Ready(result) => outcome(result.as_ref().ok()),
                };
                tell(store, name, arguments.clone(), outcome);
            }
            made
        })
    })
    .await
}
