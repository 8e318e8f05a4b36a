/** The same inputs each time: a mutant lives or dies by itself and not by chance, and the first failure is all that counts. */
import fc from "fast-check";

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 20_260_101, endOnFailure: true });
