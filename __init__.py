"""For Python in the folder above a clone, where this folder is itself found as ``gpugrad``.

Without this file ``import gpugrad`` gave an empty package there, and no error. With it the package
inside is imported, under its own name. Under another name, as of a clone in a folder that is called
otherwise, this file does nothing. It is in no wheel. May import: nothing but the standard library.
"""

if __name__ == "gpugrad":
    from importlib.machinery import PathFinder

    inside = PathFinder.find_spec(__name__, __path__)
    # The import system's own record of this module stays, which other threads wait for.
    __spec__.loader, __spec__.origin = __loader__, __file__ = inside.loader, inside.origin
    __spec__.submodule_search_locations = __path__ = inside.submodule_search_locations
    module = __import__("sys").modules[__name__]
    del PathFinder, inside
    __loader__.exec_module(module)
