//! How functions and resources come into a component's linker: what each call costs, how it waits, and a note of its
//! arguments for whoever traces calls.

use std::fmt::Debug;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::Poll;

use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use super::resources::{Kind, Resources};
use super::wit::{
    Advice, DescriptorFlags, IpAddressFamily, IpSocketAddress, NewTimestamp, OpenAtFlags, OutgoingDatagram, PathFlags,
    ShutdownType,
};
use crate::checkpoint::image::Image;
use crate::host::{CALL_FUEL, Host, begin_turn, suspend, yield_core};
use crate::meter;
use crate::trace::{self, CallOutcome, CallValue, HostCall};

/// The linker of a platform on its way.
pub(crate) struct Links<'a> {
    linker: &'a mut Linker<Host>,
    traced: bool,
    /// The version of every interface.
    version: &'static str,
}

/// An interface whose functions are being linked.
pub(crate) struct Interface<'a> {
    pub(crate) instance: LinkerInstance<'a, Host>,
    pub(crate) traced: bool,
}

/// What a call works on.
pub(crate) struct Call<'a> {
    pub(crate) kernel: &'a mut Kernel,
    pub(crate) resources: &'a mut Resources,
}

/// Why a call gives nothing back.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It waits: it is made again in the next turn.
    Block,
    /// It ends the guest.
    End(wasmtime::Error),
}

impl From<wasmtime::Error> for Halt {
    fn from(error: wasmtime::Error) -> Self {
        Self::End(error)
    }
}

/// What came of a call of the kernel, where it need not wait.
pub(crate) fn settled<T>(result: Result<T, Stop>) -> Result<Result<T, Errno>, Halt> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Errno(errno)) => Ok(Err(errno)),
        Err(Stop::Block) => Err(Halt::Block),
    }
}

impl Call<'_> {
    /// Takes a resource in.
    pub(crate) fn add<K: Kind>(&mut self, value: K) -> wasmtime::Result<Resource<K>> {
        self.resources.add(self.kernel, value)
    }
}

/// Arguments of a call, by what it took to bring them out of the guest's memory.
pub(crate) trait Weight {
    /// Bytes that were copied, those of numbers and handles aside.
    fn bytes(&self) -> usize {
        0
    }
}

impl Weight for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Weight for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl<K: 'static> Weight for Vec<Resource<K>> {
    fn bytes(&self) -> usize {
        size_of_val(&self[..])
    }
}

impl Weight for Vec<OutgoingDatagram> {
    fn bytes(&self) -> usize {
        size_of_val(&self[..]) + self.iter().map(|datagram| datagram.data.len()).sum::<usize>()
    }
}

impl<K: 'static> Weight for Resource<K> {}

macro_rules! weightless {
    ($($ty:ty),*) => { $(impl Weight for $ty {})* };
}

weightless! {
    (), bool, u8, u32, u64, Result<(), ()>, PathFlags, OpenAtFlags, DescriptorFlags, NewTimestamp, Advice,
    IpAddressFamily, IpSocketAddress, Option<IpSocketAddress>, ShutdownType
}

macro_rules! weights {
    ($(($($argument:ident)*))*) => {$(
        #[allow(non_snake_case, reason = "an argument is named as its type")]
        impl<$($argument: Weight),*> Weight for ($($argument,)*) {
            fn bytes(&self) -> usize {
                let ($($argument,)*) = self;
                0 $(+ $argument.bytes())*
            }
        }
    )*};
}

weights! { (A) (A B) (A B C) (A B C D) (A B C D E) }

impl<'a> Links<'a> {
    pub(crate) fn new(linker: &'a mut Linker<Host>, traced: bool, version: &'static str) -> Self {
        Self { linker, traced, version }
    }

    /// An interface by its name without a version.
    pub(crate) fn interface(&mut self, name: &str) -> wasmtime::Result<Interface<'_>> {
        let instance = self.linker.instance(&format!("{name}@{}", self.version))?;
        Ok(Interface { instance, traced: self.traced })
    }
}

impl Interface<'_> {
    /// Links a resource.
    pub(crate) fn resource<K: Kind>(&mut self, name: &'static str) -> wasmtime::Result<()> {
        let traced = self.traced;
        self.instance.resource(name, ResourceType::host::<K>(), move |mut store, rep| {
            meter::check(&store)?;
            let dropped = call(&mut store, |call| call.resources.drop(call.kernel, rep));
            if traced {
                tell(&store, "[resource-drop]", format!("{name} {rep}"), outcome(dropped.as_ref().ok()));
            }
            dropped
        })
    }

    /// Links a function that never waits.
    pub(crate) fn define<P, T>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut Call<'_>, P) -> wasmtime::Result<T> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + 'static,
        T: ComponentType + Lower + Debug + Send + 'static,
    {
        self.define_list(name, move |call, arguments| Ok((function(call, arguments)?,)))
    }

    /// Links a function that never waits and gives nothing back.
    pub(crate) fn define_silent<P>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut Call<'_>, P) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + 'static,
    {
        self.define_list(name, function)
    }

    fn define_list<P, R>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut Call<'_>, P) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + 'static,
        R: ComponentNamedList + Lower + Debug + 'static,
    {
        let traced = self.traced;
        self.instance.func_wrap(name, move |mut store: StoreContextMut<'_, Host>, arguments: P| {
            meter::check(&store)?;
            let words = traced.then(|| trace::words(&arguments));
            let result = call(&mut store, |call| {
                call.kernel.copied(arguments.bytes());
                function(call, arguments)
            });
            if let Some(words) = words {
                tell(&store, name, words, outcome(result.as_ref().ok()));
            }
            result
        })
    }

    /// Links a function in which a guest may have to wait. It is told whether it is made for the first time, and may keep
    /// in its arguments how far it came.
    pub(crate) fn waiting<P, T, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        T: ComponentType + Lower + Debug + Send + 'static,
        F: Fn(&mut Call<'_>, &mut P, bool) -> Result<T, Halt> + Copy + Send + Sync + 'static,
    {
        self.waiting_list(name, move |call: &mut Call<'_>, arguments: &mut P, first| {
            function(call, arguments, first).map(|value| (value,))
        })
    }

    /// The same for one that gives nothing back.
    pub(crate) fn waiting_silent<P, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        F: Fn(&mut Call<'_>, &mut P, bool) -> Result<(), Halt> + Copy + Send + Sync + 'static,
    {
        self.waiting_list(name, function)
    }

    fn waiting_list<P, R, F>(&mut self, name: &'static str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Weight + Debug + Send + 'static,
        R: ComponentNamedList + Lower + Debug + Send + 'static,
        F: Fn(&mut Call<'_>, &mut P, bool) -> Result<R, Halt> + Copy + Send + Sync + 'static,
    {
        let traced = self.traced.then_some(name);
        self.instance.func_wrap_async(name, move |store: StoreContextMut<'_, Host>, arguments: P| {
            wait(store, arguments, traced, function)
        })
    }
}

/// Runs a call once and takes what it cost.
pub(crate) fn call<T>(store: &mut StoreContextMut<'_, Host>, run: impl FnOnce(&mut Call<'_>) -> T) -> T {
    let (result, work, polls) = {
        let Host { shared, resources, endings, .. } = store.data_mut();
        let mut shared = shared.lock();
        let polls = shared.polls;
        shared.waits.has_moved = true;
        let call = &mut Call { kernel: shared.kernel(), resources };
        endings.settle(call);
        let result = run(call);
        (result, call.kernel.take_work(), polls)
    };
    meter::charge(store, CALL_FUEL.saturating_add(work), polls);
    result
}

type Waiting<'a, R> = Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>;

/// Makes a call until it need not wait, once a turn.
fn wait<'a, P, R, F>(
    mut store: StoreContextMut<'a, Host>,
    mut arguments: P,
    traced: Option<&'static str>,
    function: F,
) -> Waiting<'a, R>
where
    P: Weight + Debug + Send + 'a,
    R: Debug + Send + 'a,
    F: Fn(&mut Call<'_>, &mut P, bool) -> Result<R, Halt> + Copy + Send + Sync + 'a,
{
    if let Err(spent) = meter::check(&store) {
        return Box::new(ready(Err(spent)));
    }
    if meter::is_yield_due(&store) {
        return Box::new(async move {
            yield_core().await;
            let polls = store.data().shared.lock().polls;
            meter::yielded(&mut store, polls)?;
            Box::into_pin(wait(store, arguments, traced, function)).await
        });
    }
    let words = traced.map(|name| (name, trace::words(&arguments)));
    let result = call(&mut store, |call| {
        call.kernel.copied(arguments.bytes());
        function(call, &mut arguments, true)
    });
    tell_step(&store, words.as_ref(), &result);
    match result {
        Ok(value) => return Box::new(ready(Ok(value))),
        Err(Halt::End(error)) => return Box::new(ready(Err(error))),
        Err(Halt::Block) => {}
    }
    let shared = Arc::clone(&store.data().shared);
    let mut turn = {
        let mut shared = shared.lock();
        if let Err(spent) = suspend(&mut store, &mut shared) {
            return Box::new(ready(Err(spent)));
        }
        shared.turn
    };
    Box::new(poll_fn(move |_| {
        {
            let mut shared = shared.lock();
            if std::mem::take(&mut shared.look) {
                shared.image = Some(Image::whole(&mut store));
            }
            if turn == shared.turn {
                shared.blocked = true;
                return Poll::Pending;
            }
            let memory = store.data().state.memory;
            begin_turn(&mut store, &mut shared, memory);
            turn = shared.turn;
        }
        let result = call(&mut store, |call| function(call, &mut arguments, false));
        tell_step(&store, words.as_ref(), &result);
        match result {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(Halt::End(error)) => Poll::Ready(Err(error)),
            Err(Halt::Block) => match suspend(&mut store, &mut shared.lock()) {
                Ok(()) => Poll::Pending,
                Err(spent) => Poll::Ready(Err(spent)),
            },
        }
    }))
}

/// What a call gave back, in words; it ended the guest when there is nothing.
pub(crate) fn outcome<R: Debug>(result: Option<&R>) -> CallOutcome {
    result.map_or(CallOutcome::Ends, |value| CallOutcome::Gave(trace::words(value)))
}

fn tell_step<R: Debug>(
    store: &StoreContextMut<'_, Host>,
    words: Option<&(&'static str, String)>,
    result: &Result<R, Halt>,
) {
    let Some((name, arguments)) = words else { return };
    let outcome = match result {
        Err(Halt::Block) => CallOutcome::Waits,
        result => outcome(result.as_ref().ok()),
    };
    tell(store, name, arguments.clone(), outcome);
}

pub(crate) fn tell(store: &StoreContextMut<'_, Host>, name: &'static str, arguments: String, outcome: CallOutcome) {
    if let Some(sink) = &mut store.data().shared.lock().calls {
        sink(HostCall { name, arguments: vec![("", CallValue::Words(arguments))], outcome });
    }
}
