/** In your own app this is `import { createParamedic } from "paramedic"`; here the examples run from the sources. */
export { createParamedic } from "../../server/index.js";
