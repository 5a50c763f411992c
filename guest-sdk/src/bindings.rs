//! What the contract in `wit/` generates: types, imports, and an export macro for each thing a plugin can be.
//!
//! The contract's worlds join several exports; here each export is a world of its own, and the linker of the
//! component unites those that a plugin uses. So `#[handler]` and `#[judge]` need not know of each other.

/// Every type and every import; a component keeps only the imports it calls.
#[allow(missing_docs, reason = "generated")]
pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package drover:sdk;
            world imports {
                import drover:plugin/types@0.1.0;
                import drover:plugin/log@0.1.0;
                import drover:plugin/config@0.1.0;
                import drover:plugin/context@0.1.0;
                import drover:plugin/metrics@0.1.0;
                import drover:plugin/producer@0.1.0;
                import drover:plugin/selection@0.1.0;
            }
        ",
        world: "drover:sdk/imports",
        additional_derives: [PartialEq],
        generate_all,
        generate_unused_types: true,
    });
}

/// What `#[handler]` exports.
#[allow(missing_docs, reason = "generated")]
pub mod handler {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package drover:sdk; world handler-export { export drover:plugin/message-handler@0.1.0; }",
        world: "drover:sdk/handler-export",
        additional_derives: [PartialEq],
        with: { "drover:plugin/types@0.1.0": crate::bindings::imports::drover::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_handler",
        default_bindings_module: "::drover_guest::bindings::handler",
        runtime_path: "::drover_guest::__private::wit_bindgen::rt",
    });
}

/// What `#[judge]` exports.
#[allow(missing_docs, reason = "generated")]
pub mod judge {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package drover:sdk; world judge-export { export drover:plugin/judge@0.1.0; }",
        world: "drover:sdk/judge-export",
        additional_derives: [PartialEq],
        with: { "drover:plugin/types@0.1.0": crate::bindings::imports::drover::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_judge",
        default_bindings_module: "::drover_guest::bindings::judge",
        runtime_path: "::drover_guest::__private::wit_bindgen::rt",
    });
}

/// What `#[init]` exports.
#[allow(missing_docs, reason = "generated")]
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package drover:sdk; world lifecycle-export { export drover:plugin/lifecycle@0.1.0; }",
        world: "drover:sdk/lifecycle-export",
        additional_derives: [PartialEq],
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "::drover_guest::bindings::lifecycle",
        runtime_path: "::drover_guest::__private::wit_bindgen::rt",
    });
}

/// What `#[selector]` exports.
#[allow(missing_docs, reason = "generated")]
pub mod selector {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package drover:sdk; world selector-export { export drover:plugin/server-selector@0.1.0; }",
        world: "drover:sdk/selector-export",
        additional_derives: [PartialEq],
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_selector",
        default_bindings_module: "::drover_guest::bindings::selector",
        runtime_path: "::drover_guest::__private::wit_bindgen::rt",
    });
}
