/**
 * A double of NVRTC: "compiles" a kernel's text by the system's C++ compiler, with the emulator's head in front. The image that it gives is a
 * shared object, which the double of the driver loads. FOVEA_EMULATOR_CXX and FOVEA_EMULATOR_HEAD say what to run and what to put in front.
 */
export const emulatorNvrtc = String.raw`
struct fv_program { std::string text, log, image; };
static std::string fv_read(const std::string &path) { std::string out; if (FILE *f = fopen(path.c_str(), "rb")) { char b[65536]; for (size_t n; (n = fread(b, 1, sizeof b, f)) > 0;) out.append(b, n); fclose(f); } return out; }
extern "C" {
R nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return OK; }
const char *nvrtcGetErrorString(R r) { return r == 0 ? "NVRTC_SUCCESS" : r == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }
R nvrtcGetNumSupportedArchs(int *n) { *n = 2; return OK; }
R nvrtcGetSupportedArchs(int *a) { a[0] = 80; a[1] = 90; return OK; }
R nvrtcCreateProgram(void **p, const char *text, const char *, int, void *, void *) { *p = new fv_program{text}; return OK; }
R nvrtcDestroyProgram(void **p) { delete (fv_program *)*p; *p = nullptr; return OK; }
R nvrtcCompileProgram(void *p, int, void *) {
  fv_program *q = (fv_program *)p; std::string place = fv_temporary("fovea-emulator"); char *folder = &place[0]; if (!mkdtemp(folder)) return 1;
  std::string base = folder, source = base + "/k.cpp", object = base + "/k.so", log = base + "/log";
  if (FILE *f = fopen(source.c_str(), "w")) { fwrite(q->text.data(), 1, q->text.size(), f); fclose(f); }
  const char *cxx = getenv("FOVEA_EMULATOR_CXX"), *head = getenv("FOVEA_EMULATOR_HEAD");
  std::string command = std::string(cxx ? cxx : "c++") + " -w -include '" + (head ? head : "") + "' -o '" + object + "' '" + source + "' 2>'" + log + "'";
  int status = system(command.c_str()); q->log = fv_read(log);
  std::string bytes = status == 0 ? fv_read(object) : ""; long n = bytes.size();
  if (n) { q->image = std::string("FVEM\0\0\0\0", 8) + std::string((char *)&n, 8) + bytes; }
  unlink(source.c_str()); unlink(object.c_str()); unlink(log.c_str()); rmdir(folder);
  return n ? OK : 6;
}
R nvrtcGetCUBINSize(void *p, size_t *n) { *n = ((fv_program *)p)->image.size(); return OK; }
R nvrtcGetCUBIN(void *p, void *to) { fv_program *q = (fv_program *)p; memcpy(to, q->image.data(), q->image.size()); return OK; }
R nvrtcGetProgramLogSize(void *p, size_t *n) { *n = ((fv_program *)p)->log.size() + 1; return OK; }
R nvrtcGetProgramLog(void *p, void *to) { fv_program *q = (fv_program *)p; memcpy(to, q->log.c_str(), q->log.size() + 1); return OK; }
}
`;
