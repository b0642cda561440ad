//! How functions come into a linker: as they are, or behind a note of their name and arguments, for whoever traces calls.
//!
//! Which of the two is decided when a platform is made. One that does not trace links the bare functions: a call then
//! costs one look at a field that nobody sets.

use std::future::ready;

use refrain_inspect::abi::Family;
use refrain_inspect::asyncify::waits;
use refrain_kernel::Errno;
use wasmtime::{Caller, Linker, WasmTy, WasmTyList};

use crate::host::{Host, Waiting, call, charge_call, memory_of};
use crate::meter;
use crate::trace::{Called, Function};

/// The linker of a platform on its way, and the family whose functions are being linked.
pub(crate) struct Links<'a> {
    linker: &'a mut Linker<Host>,
    traced: bool,
    family: Family,
}

impl<'a> Links<'a> {
    pub(crate) fn new(linker: &'a mut Linker<Host>, traced: bool) -> Self {
        Self { linker, traced, family: Family::Preview1 }
    }

    /// The same for the functions of a family.
    pub(crate) fn of(&mut self, family: Family) -> &mut Self {
        self.family = family;
        self
    }

    /// Links a function that never waits.
    pub(crate) fn define<P>(&mut self, name: &'static str, function: impl Adapter<P>) -> wasmtime::Result<()> {
        function.link(self, name)
    }

    /// Links the function that ends the guest.
    pub(crate) fn exit(
        &mut self,
        name: &'static str,
        function: impl Fn(Caller<'_, Host>, u32) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        let (traced, told) = (self.traced, Function { family: self.family, name });
        self.linker.func_wrap(self.family.link_module(), name, move |mut caller: Caller<'_, Host>, code: u32| {
            if traced {
                caller.data_mut().called = Some(Called::new(told, [u64::from(code)]));
                crate::trace::ended(&mut caller);
            }
            function(caller, code)
        })?;
        Ok(())
    }

    /// Links a function that does nothing, whatever its arguments, and gives nothing back.
    pub(crate) fn ignore<P: WasmTyList + 'static>(&mut self, name: &'static str) -> wasmtime::Result<()> {
        self.linker.func_wrap_async(self.family.link_module(), name, |mut caller: Caller<'_, Host>, _: P| {
            let checked = meter::check(&caller);
            charge_call(&mut caller);
            Box::new(ready(checked))
        })?;
        Ok(())
    }

    /// Links a function that fails, whatever its arguments.
    pub(crate) fn fail<P: WasmTyList + 'static>(&mut self, name: &'static str, errno: Errno) -> wasmtime::Result<()> {
        let (traced, told) = (self.traced, Function { family: self.family, name });
        self.linker.func_wrap_async(self.family.link_module(), name, move |mut caller: Caller<'_, Host>, _: P| {
            let checked = meter::check(&caller);
            caller.data_mut().called = traced.then(|| Called::new(told, []));
            Box::new(ready(checked.map(|()| call(&mut caller, |_, _| Err::<(), _>(errno)))))
        })?;
        Ok(())
    }

    /// Links a function in which a guest may have to wait, and that gives nothing back.
    pub(crate) fn waiting_silent(
        &mut self,
        name: &'static str,
        function: impl for<'c> Fn(Caller<'c, Host>) -> Waiting<'c> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        self.must_wait(name);
        self.linker.func_wrap_async(self.family.link_module(), name, move |caller: Caller<'_, Host>, (): ()| {
            let waiting = Box::into_pin(function(caller));
            Box::new(async move { waiting.await.map(drop) })
        })?;
        Ok(())
    }

    /// Links a function that may end the guest.
    pub(crate) fn ending(
        &mut self,
        name: &'static str,
        function: impl Fn(u32) -> wasmtime::Result<i32> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        let (traced, told) = (self.traced, Function { family: self.family, name });
        self.linker.func_wrap(
            self.family.link_module(),
            name,
            move |mut caller: Caller<'_, Host>, argument: u32| {
                meter::check(&caller)?;
                charge_call(&mut caller);
                let result = function(argument);
                if traced {
                    caller.data_mut().called = Some(Called::new(told, [u64::from(argument)]));
                    match (&result, memory_of(&mut caller)) {
                        (Ok(code), Some(memory)) => crate::trace::returned(&mut caller, memory, *code),
                        (Ok(_), None) => {}
                        (Err(_), _) => crate::trace::ended(&mut caller),
                    }
                }
                result
            },
        )?;
        Ok(())
    }

    fn must_wait(&self, name: &str) {
        for known in self.family.functions().iter().filter(|known| known.name == name) {
            let module = known.module;
            assert!(waits(module, name), "{module}.{name} is not in the inspector's table of functions that may wait");
        }
    }

    /// Links a function in which a guest may have to wait.
    ///
    /// # Panics
    /// When modules are not instrumented for it: their guests could not be saved while they wait in it.
    pub(crate) fn waiting<P: WasmTyList + Words + 'static>(
        &mut self,
        name: &'static str,
        function: impl for<'c> Fn(Caller<'c, Host>, P) -> Waiting<'c> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        self.must_wait(name);
        let (module, told) = (self.family.link_module(), Function { family: self.family, name });
        if !self.traced {
            self.linker.func_wrap_async(module, name, function)?;
            return Ok(());
        }
        self.linker.func_wrap_async(module, name, move |mut caller: Caller<'_, Host>, arguments: P| {
            caller.data_mut().called = Some(arguments.called(told));
            function(caller, arguments)
        })?;
        Ok(())
    }
}

/// A function of the host with arguments `P`.
pub(crate) trait Adapter<P> {
    fn link(self, links: &mut Links<'_>, name: &'static str) -> wasmtime::Result<()>;
}

/// A tuple of arguments that can be noted.
pub(crate) trait Words {
    fn called(&self, function: Function) -> Called;
}

/// An argument as it is noted.
pub(crate) trait Word: Copy {
    fn word(self) -> u64;
}

impl Word for u32 {
    fn word(self) -> u64 {
        u64::from(self)
    }
}

impl Word for u64 {
    fn word(self) -> u64 {
        self
    }
}

impl Word for i64 {
    fn word(self) -> u64 {
        self.cast_unsigned()
    }
}

macro_rules! adapters {
    ($(($($argument:ident)*))*) => {$(
        #[allow(non_snake_case, reason = "an argument is named as its type")]
        impl<F, $($argument,)*> Adapter<($($argument,)*)> for F
        where
            F: Fn(Caller<'_, Host>, $($argument),*) -> i32 + Send + Sync + 'static,
            $($argument: WasmTy + Word,)*
        {
            fn link(self, links: &mut Links<'_>, name: &'static str) -> wasmtime::Result<()> {
                let (module, told) = (links.family.link_module(), Function { family: links.family, name });
                if !links.traced {
                    let bare = move |caller: Caller<'_, Host>, $($argument: $argument),*| -> wasmtime::Result<i32> {
                        meter::check(&caller)?;
                        Ok(self(caller, $($argument),*))
                    };
                    links.linker.func_wrap(module, name, bare)?;
                    return Ok(());
                }
                let noted = move |mut caller: Caller<'_, Host>, $($argument: $argument),*| -> wasmtime::Result<i32> {
                    meter::check(&caller)?;
                    caller.data_mut().called = Some(Called::new(told, [$($argument.word()),*]));
                    Ok(self(caller, $($argument),*))
                };
                links.linker.func_wrap(module, name, noted)?;
                Ok(())
            }
        }

        #[allow(non_snake_case, reason = "an argument is named as its type")]
        impl<$($argument: Word),*> Words for ($($argument,)*) {
            fn called(&self, function: Function) -> Called {
                let ($($argument,)*) = *self;
                Called::new(function, [$($argument.word()),*])
            }
        }
    )*};
}

adapters! {
    () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E G) (A B C D E G H) (A B C D E G H I) (A B C D E G H I J)
    (A B C D E G H I J K)
}
