import { defineConfig, type Plugin } from "vite";

const SERVER = "http://127.0.0.1:8000";

/** The spectrogram's workers for Node, which a page never asks for. */
function noNodeWorkers(): Plugin {
  return {
    name: "no-node-workers",
    enforce: "pre",
    resolveId: (id) => (id === "worker_threads" ? "\0worker_threads" : null),
    load: (id) => (id === "\0worker_threads" ? "export {};" : null),
  };
}

/**
 * wavesurfer.js writes its stylesheet as an inline <style>, which the server's Content-Security-Policy
 * refuses. It becomes a <template>, whose text src/wave.ts adopts as a constructed stylesheet.
 */
function adoptableStyles(): Plugin {
  return {
    name: "adoptable-styles",
    apply: "build",
    transform(code, id) {
      if (!/wavesurfer\.js\/dist\/wavesurfer\.esm\.js$/.test(id)) return null;
      const changed = code.replace(/<style\$\{.*?:""\}>/, "<template>").replace("</style>", "</template>");
      if (!changed.includes("<template>") || changed.includes("<style")) {
        this.error("wavesurfer.js no longer writes its <style> as vite.config.ts expects");
      }
      return { code: changed, map: null };
    },
  };
}

export default defineConfig({
  base: "/",
  plugins: [noNodeWorkers(), adoptableStyles()],
  build: {
    target: "es2022",
    outDir: "../src/antiphon/serve/page",
    emptyOutDir: true,
    assetsDir: "assets",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: "assets/licences.txt" },
  },
  server: { proxy: { "/v1": SERVER, "/health": SERVER } },
});
